//! What is shown to clients by TLS, and whom of origins to believe.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sheave_net::tls::name::PeerName;
use sheave_net::tls::version::MinVersion;

/// What is shown to clients.
#[derive(Args, Debug)]
#[command(next_help_heading = "TLS towards clients")]
pub(crate) struct ClientTlsArguments {
    /// A certificate, PEM: the server's own first, then those that lead to its issuer; once for each --tls-key.
    ///
    /// Several are chosen from by the name that the client asks for (SNI), the first one where none has it. The files are
    /// read anew when they change, and on SIGHUP; connections that are there notice nothing, and what cannot be used leaves
    /// the former certificates in force.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Vec<PathBuf>,

    /// The private key of the --tls-cert at the same place, PEM, without a passphrase. It may be the same file.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Vec<PathBuf>,

    /// For a first try: a certificate that is made at the start and believed by nobody, for these names
    /// [names: localhost,127.0.0.1,::1].
    #[arg(
        long,
        value_name = "NAME,…",
        num_args = 0..=1,
        default_missing_value = "localhost,127.0.0.1,::1",
        conflicts_with_all = ["tls_cert", "tls_key"]
    )]
    pub(crate) tls_self_signed: Option<String>,

    /// Ask clients for a certificate by one of these issuers, PEM; whoever shows none is refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// With --tls-client-ca: let in who shows none. One by another issuer is refused all the same.
    #[arg(long, requires = "tls_client_ca")]
    pub(crate) tls_client_optional: bool,

    /// The oldest version of TLS that is spoken with clients.
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = OldestTls::Tls12)]
    pub(crate) tls_min_version: OldestTls,
}

/// Whom of origins to believe.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS towards origins")]
pub(crate) struct OriginTlsArguments {
    /// Believe origins by these issuers alone, PEM [default: those that this system believes, or SSL_CERT_FILE].
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Believe whatever certificate an origin shows. Whoever sits on the way can then read and change everything.
    #[arg(long, conflicts_with = "upstream_ca")]
    pub(crate) upstream_tls_insecure: bool,

    /// The certificate that is shown to origins which ask for one, PEM.
    #[arg(long, value_name = "FILE", requires = "upstream_client_key")]
    pub(crate) upstream_client_cert: Option<PathBuf>,

    /// Its private key, PEM, without a passphrase.
    #[arg(long, value_name = "FILE", requires = "upstream_client_cert")]
    pub(crate) upstream_client_key: Option<PathBuf>,

    /// The name that origins are asked for (SNI) and must have a certificate for [default: that of --to].
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(crate) upstream_server_name: Option<PeerName>,
}

impl ClientTlsArguments {
    /// Whether a certificate is shown to anybody.
    pub(crate) fn has_certificate(&self) -> bool {
        !self.tls_cert.is_empty() || self.tls_self_signed.is_some()
    }
}

impl OriginTlsArguments {
    /// A flag that was given, if any was.
    pub(crate) fn given(&self) -> Option<&'static str> {
        [
            (self.upstream_ca.is_some(), "--upstream-ca"),
            (self.upstream_tls_insecure, "--upstream-tls-insecure"),
            (self.upstream_client_cert.is_some(), "--upstream-client-cert"),
            (self.upstream_server_name.is_some(), "--upstream-server-name"),
        ]
        .into_iter()
        .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

/// The oldest version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OldestTls {
    /// TLS 1.2 and 1.3.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[value(name = "1.3")]
    Tls13,
}

impl OldestTls {
    /// As the libraries have it.
    pub(crate) const fn version(self) -> MinVersion {
        match self {
            Self::Tls12 => MinVersion::Tls12,
            Self::Tls13 => MinVersion::Tls13,
        }
    }

    /// Its name, as `--tls-min-version` has it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

fn parse_name(text: &str) -> Result<PeerName, String> {
    text.parse().map_err(|error| format!("{text:?} is {error}"))
}
