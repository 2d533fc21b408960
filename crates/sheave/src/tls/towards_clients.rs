//! What is shown to clients: from the arguments to certificates, now and again.

use std::path::PathBuf;

use sheave_net::secured::Alpn;
use sheave_net::tls::certificate::Identity;
use sheave_net::tls::server::{ClientCertificates, ServerSettings, ServerTls};
use sheave_net::tls::version::MinVersion;
use tracing::{info, warn};

use super::files::{self, Stamp};
use super::reload::Reread;
use super::self_signed::self_signed;
use crate::args::ClientTlsArguments;
use crate::config::InForce;
use crate::exit::Failure;

/// Where certificates come from, and what is in force.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pairs: Vec<(PathBuf, PathBuf)>,
    made: Option<Identity>,
    clients: Option<(PathBuf, bool)>,
    min_version: MinVersion,
    spoken: &'static [Alpn],
    said_version: &'static str,
    tls: ServerTls,
}

impl Certificates {
    /// Reads what was said; `None` where nothing was. `spoken` is what the server speaks, most wanted first.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong, where, and what to do.
    pub(crate) fn read(arguments: &ClientTlsArguments, spoken: &'static [Alpn]) -> Result<Option<Self>, Failure> {
        let (certificates, keys) = (&arguments.tls_cert, &arguments.tls_key);
        if certificates.len() != keys.len() {
            return Err(Failure::usage(format!(
                "--tls-cert is there {} and --tls-key {}: each certificate needs its key, in the same order (both may be in \
                 one file, named twice)",
                times(certificates.len()),
                times(keys.len())
            )));
        }
        if !arguments.has_certificate() {
            return match arguments.tls_client_ca {
                Some(_) => Err(Failure::usage(
                    "--tls-client-ca: without --tls-cert and --tls-key no client speaks TLS".to_owned(),
                )),
                None => Ok(None),
            };
        }
        let made = match &arguments.tls_self_signed {
            Some(names) => {
                let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
                Some(self_signed(&names).map_err(Failure::usage)?)
            }
            None => None,
        };
        let pairs: Vec<_> = certificates.iter().cloned().zip(keys.iter().cloned()).collect();
        let clients = arguments.tls_client_ca.clone().map(|path| (path, arguments.tls_client_optional));
        let min_version = arguments.tls_min_version.version();
        let settings =
            settings(&pairs, made.as_ref(), clients.as_ref(), min_version, spoken).map_err(Failure::start)?;
        settings.identities.iter().for_each(warn_if_untimely);
        let tls =
            ServerTls::new(&settings).map_err(|error| Failure::start(format!("TLS cannot be spoken: {error}")))?;
        let said_version = arguments.tls_min_version.label();
        Ok(Some(Self { pairs, made, clients, min_version, spoken, said_version, tls }))
    }

    /// What secures connections. Clones of it see what is read anew.
    pub(crate) fn tls(&self) -> &ServerTls {
        &self.tls
    }

    /// What is in force, in words.
    pub(crate) fn say(&self) -> InForce {
        let read = |(certificate, _): &(PathBuf, PathBuf)| ("certificate", certificate.display().to_string());
        let mut said: Vec<_> = self.pairs.iter().map(read).collect();
        if let Some(made) = &self.made {
            said.push(("self-signed", format!("for {}", made.names().join(" "))));
            said.push(("SHA-256", made.fingerprint().into_string()));
        }
        said.push(("from version", self.said_version.to_owned()));
        if let Some((path, is_optional)) = &self.clients {
            let asked = if *is_optional { "asked for" } else { "required" };
            said.push(("client certificates", format!("{asked}, by {}", path.display())));
        }
        ("TLS towards clients", said)
    }
}

impl Reread for Certificates {
    fn read_again(&self) {
        let read = settings(&self.pairs, self.made.as_ref(), self.clients.as_ref(), self.min_version, self.spoken)
            .and_then(|settings| self.tls.replace(&settings).map(|()| settings).map_err(|error| error.to_string()));
        match read {
            Ok(settings) => {
                settings.identities.iter().for_each(warn_if_untimely);
                let names: Vec<String> = settings.identities.iter().map(named).collect();
                info!(certificates = names.join("; "), "certificates were read again, and are in force");
            }
            Err(why) => tracing::error!("the new certificates cannot be used, and the former ones stay: {why}"),
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        let pairs = self.pairs.iter().flat_map(|(certificate, key)| [certificate, key]);
        pairs.chain(self.clients.as_ref().map(|(path, _)| path)).map(|path| Stamp::of(path)).collect()
    }
}

fn settings(
    pairs: &[(PathBuf, PathBuf)],
    made: Option<&Identity>,
    clients: Option<&(PathBuf, bool)>,
    min_version: MinVersion,
    spoken: &[Alpn],
) -> Result<ServerSettings, String> {
    let mut identities: Vec<Identity> = made.into_iter().cloned().collect();
    for (certificate, key) in pairs {
        identities.push(files::identity(certificate, key, ["--tls-cert", "--tls-key"])?);
    }
    let clients = match clients {
        None => ClientCertificates::Unasked,
        Some((path, is_optional)) => {
            let roots = files::roots(path, "--tls-client-ca")?;
            if *is_optional { ClientCertificates::Optional(roots) } else { ClientCertificates::Required(roots) }
        }
    };
    Ok(ServerSettings { clients, min_version, alpn: spoken.to_vec(), ..ServerSettings::new(identities) })
}

fn warn_if_untimely(identity: &Identity) {
    if let Some(why) = files::untimely(identity) {
        warn!(certificate = named(identity), "a certificate cannot be believed now: {why}");
    }
}

/// A certificate for people: whom it is for, or else its digest.
fn named(identity: &Identity) -> String {
    match identity.names() {
        [] => format!("SHA-256 {}", identity.fingerprint()),
        names => names.join(" "),
    }
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}
