//! A certificate for a first try, made at the start and believed by nobody.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sheave_net::tls::certificate::Identity;

/// Makes a certificate for these names.
///
/// # Errors
///
/// Which of the names cannot be in one, or what else is in the way.
pub(super) fn self_signed(names: &[&str]) -> Result<Identity, String> {
    let make = || -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "sheave, for a first try");
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    let (certificate, key) = make()
        .map_err(|error| format!("cannot make a certificate for {}: {error} (--tls-self-signed)", names.join(",")))?;
    Identity::from_pem(certificate.as_bytes(), key.as_bytes())
        .map_err(|fault| format!("cannot use the certificate that was made: {fault} (--tls-self-signed)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_names_and_is_valid_now() {
        let identity = self_signed(&["localhost", "a.example", "127.0.0.1"]).expect("can be made");
        assert_eq!(identity.names(), ["localhost", "a.example"]);
        assert_eq!(crate::tls::files::untimely(&identity), None);
        assert_eq!(identity.fingerprint().len(), 64);
        let error = self_signed(&["ü"]).expect_err("is no name on the wire");
        assert!(error.contains("--tls-self-signed"), "{error}");
    }
}
