//! Whom of origins to believe: from the arguments to what secures connections to them.

use sheave_net::endpoint::Secure;
use sheave_net::tls::certificate::Roots;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use tracing::warn;

use super::files;
use crate::address::{Host, OriginAddress};
use crate::args::OriginTlsArguments;
use crate::exit::Failure;

/// What secures connections to origins. Takes some milliseconds where the system's issuers are read.
///
/// # Errors
///
/// A line that says what is wrong, where, and what to do.
pub(crate) fn towards_origins(arguments: &OriginTlsArguments) -> Result<ClientTls, Failure> {
    let trust = match &arguments.upstream_ca {
        _ if arguments.upstream_tls_insecure => {
            warn!(
                "--upstream-tls-insecure: origins' certificates are NOT checked; whoever sits on the way can read and change \
                 everything"
            );
            Trust::AnybodyInsecurely
        }
        Some(path) => Trust::Roots(files::roots(path, "--upstream-ca").map_err(Failure::start)?),
        None => {
            let roots = Roots::of_the_system();
            if roots.is_empty() {
                return Err(Failure::start(
                    "this system believes no issuer of certificates: install its bundle (Debian: ca-certificates), or say \
                     whom to believe (--upstream-ca)"
                        .to_owned(),
                ));
            }
            if roots.unusable() > 0 {
                warn!(unusable = roots.unusable(), "some of the issuers that this system believes cannot be read");
            }
            Trust::Roots(roots)
        }
    };
    let identity = match (&arguments.upstream_client_cert, &arguments.upstream_client_key) {
        (Some(certificate), Some(key)) => {
            let flags = ["--upstream-client-cert", "--upstream-client-key"];
            let identity = files::identity(certificate, key, flags).map_err(Failure::start)?;
            if let Some(why) = files::untimely(&identity) {
                warn!(file = %certificate.display(), "the certificate for origins cannot be believed now: {why}");
            }
            Some(identity)
        }
        _ => None,
    };
    let settings = ClientSettings { identity, ..ClientSettings::new(trust) };
    ClientTls::new(&settings).map_err(|error| Failure::start(format!("TLS to origins cannot be spoken: {error}")))
}

/// What secures connections to one origin: it has to have a certificate for its name.
///
/// # Errors
///
/// A line that says that no certificate can be for it.
pub(crate) fn secure(
    client: &ClientTls,
    origin: &OriginAddress,
    arguments: &OriginTlsArguments,
) -> Result<Secure, Failure> {
    let name = match (&arguments.upstream_server_name, &origin.host) {
        (Some(name), _) => Ok(name.clone()),
        (None, Host::Ip(ip)) => ip.to_string().parse(),
        (None, Host::Name(name)) => name.parse(),
    };
    let name = name.map_err(|error| {
        Failure::usage(format!("{origin}: no certificate can be for it, as it is {error} (--upstream-server-name)"))
    })?;
    Ok(Secure { client: client.clone(), name })
}
