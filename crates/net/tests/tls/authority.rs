//! Certificates for tests, issued here and believed nowhere else.

use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use sheave_net::tls::certificate::{Identity, Roots};

/// An issuer.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The issuer that is believed.
pub(crate) static OURS: LazyLock<Authority> = LazyLock::new(|| Authority::new("ours"));

/// One that nobody believes.
pub(crate) static THEIRS: LazyLock<Authority> = LazyLock::new(|| Authority::new("theirs"));

/// `localhost`, `*.example.com` and 127.0.0.1, by the issuer that is believed.
pub(crate) static LOCALHOST: LazyLock<Identity> =
    LazyLock::new(|| OURS.issue(&["localhost", "*.example.com", "127.0.0.1"]));

/// A client, by the issuer that is believed.
pub(crate) static CLIENT: LazyLock<Identity> = LazyLock::new(|| OURS.issue(&["a-client"]));

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The issuer's certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The issuer as somebody to believe.
    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// A certificate for servers and clients of these names, valid now.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_for(names, 2000..2100)
    }

    /// A certificate that is valid in these years.
    pub(crate) fn issue_for(&self, names: &[&str], years: std::ops::Range<i32>) -> Identity {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}
