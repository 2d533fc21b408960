//! A certificate for `localhost` that vouches for itself, who shows it, and who believes it.

use std::sync::LazyLock;

use sheave_net::tls::certificate::{Identity, Roots};
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ServerSettings, ServerTls};

/// Who shows it, and who believes it.
pub(crate) static LOCALHOST: LazyLock<(ServerTls, ClientTls)> = LazyLock::new(|| {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.pem();
    let identity = Identity::from_pem(certificate.as_bytes(), issued.signing_key.serialize_pem().as_bytes()).unwrap();
    let roots = Roots::from_pem(certificate.as_bytes()).unwrap();
    let client = ClientTls::new(&ClientSettings::new(Trust::Roots(roots))).unwrap();
    (ServerTls::new(&ServerSettings::new(vec![identity])).unwrap(), client)
});
