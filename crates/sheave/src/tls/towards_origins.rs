//! Whom of origins to believe: from the arguments to what secures connections to them, now and again.

use sheave_net::endpoint::Secure;
use sheave_net::tls::certificate::Roots;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use tracing::{error, info, warn};

use super::files::{self, Stamp};
use super::reload::Reread;
use crate::address::{Host, OriginAddress};
use crate::args::OriginTlsArguments;
use crate::exit::Failure;

/// What secures connections to origins, and where it was read from.
pub(crate) struct OriginTls {
    arguments: OriginTlsArguments,
    tls: ClientTls,
}

impl OriginTls {
    /// Reads what was said. Takes some milliseconds where the system's issuers are read.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong, where, and what to do.
    pub(crate) fn read(arguments: &OriginTlsArguments) -> Result<Self, Failure> {
        if arguments.upstream_tls_insecure {
            warn!(
                "--upstream-tls-insecure: origins' certificates are NOT checked; whoever sits on the way can read and change \
                 everything"
            );
        }
        let settings = settings(arguments).map_err(Failure::start)?;
        let tls = ClientTls::new(&settings)
            .map_err(|error| Failure::start(format!("TLS to origins cannot be spoken: {error}")))?;
        Ok(Self { arguments: arguments.clone(), tls })
    }

    /// What secures connections. Clones of it see what is read anew.
    pub(crate) const fn tls(&self) -> &ClientTls {
        &self.tls
    }
}

impl Reread for OriginTls {
    fn stamps(&self) -> Vec<Stamp> {
        let OriginTlsArguments { upstream_ca, upstream_client_cert, upstream_client_key, .. } = &self.arguments;
        [upstream_ca, upstream_client_cert, upstream_client_key]
            .into_iter()
            .flatten()
            .map(|path| Stamp::of(path))
            .collect()
    }

    fn read_again(&self) {
        let read = settings(&self.arguments)
            .and_then(|settings| self.tls.replace(&settings).map_err(|error| error.to_string()));
        match read {
            Ok(()) => info!("what secures connections to origins was read again, and is in force for new ones"),
            Err(why) => error!("what is to secure connections to origins cannot be used, and the former stays: {why}"),
        }
    }
}

fn settings(arguments: &OriginTlsArguments) -> Result<ClientSettings, String> {
    let trust = match &arguments.upstream_ca {
        _ if arguments.upstream_tls_insecure => Trust::AnybodyInsecurely,
        Some(path) => Trust::Roots(files::roots(path, "--upstream-ca")?),
        None => Trust::Roots(roots_of_the_system()?),
    };
    let identity = match (&arguments.upstream_client_cert, &arguments.upstream_client_key) {
        (Some(certificate), Some(key)) => {
            let identity = files::identity(certificate, key, ["--upstream-client-cert", "--upstream-client-key"])?;
            if let Some(why) = files::untimely(&identity) {
                warn!(file = %certificate.display(), "the certificate for origins cannot be believed now: {why}");
            }
            Some(identity)
        }
        _ => None,
    };
    Ok(ClientSettings { identity, ..ClientSettings::new(trust) })
}

fn roots_of_the_system() -> Result<Roots, String> {
    let roots = Roots::of_the_system();
    if roots.is_empty() {
        return Err(
            "this system believes no issuer of certificates: install its bundle (Debian: ca-certificates), or say \
                    whom to believe (--upstream-ca)"
                .to_owned(),
        );
    }
    if roots.unusable() > 0 {
        warn!(unusable = roots.unusable(), "some of the issuers that this system believes cannot be read");
    }
    Ok(roots)
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
