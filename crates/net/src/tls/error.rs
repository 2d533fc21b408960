//! What a failure of TLS is called, and what can be said of it.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::handshake::HandshakeError;

/// The failure under its stable name, with what people want to know.
pub(super) fn failure(error: &Error) -> HandshakeError {
    let (label, detail) = told(error);
    HandshakeError::Tls { label, detail: detail.unwrap_or_else(|| error.to_string()) }
}

/// A name and, where rustls' own words are not the best, better ones.
fn told(error: &Error) -> (&'static str, Option<String>) {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => {
            let told = format!("the peer gave up: {}", alert.as_str().unwrap_or("unknown alert"));
            (alert_label(*alert), Some(told))
        }
        Error::NoCertificatesPresented => {
            ("client-certificate-required", Some("the client showed no certificate".to_owned()))
        }
        Error::NoApplicationProtocol => {
            ("alpn-mismatch", Some("the client speaks none of the protocols that are spoken here".to_owned()))
        }
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => ("no-common-protocol-version", None),
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon => ("no-common-cipher", None),
            _ => ("handshake-failed", None),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            ("not-tls", None)
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => ("protocol-violation", None),
        _ => ("handshake-failed", None),
    }
}

fn certificate(error: &CertificateError) -> (&'static str, Option<String>) {
    use CertificateError as Why;
    #[expect(deprecated, reason = "rustls still has it, and may still give it")]
    match error {
        Why::Expired => ("certificate-expired", None),
        Why::ExpiredContext { time, not_after } => {
            let since = time.as_secs().saturating_sub(not_after.as_secs());
            ("certificate-expired", Some(format!("the certificate expired {} ago", spoken(since))))
        }
        Why::NotValidYet => ("certificate-not-yet-valid", None),
        Why::NotValidYetContext { time, not_before } => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            ("certificate-not-yet-valid", Some(format!("the certificate will be valid in {}", spoken(until))))
        }
        Why::UnknownIssuer => {
            ("unknown-issuer", Some("the certificate's issuer is not among those that are believed".to_owned()))
        }
        Why::NotValidForName => ("name-mismatch", None),
        Why::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            ("name-mismatch", Some(format!("the certificate is for {names}, not for {}", expected.to_str())))
        }
        Why::BadSignature => ("bad-signature", None),
        Why::UnsupportedSignatureAlgorithm
        | Why::UnsupportedSignatureAlgorithmContext { .. }
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => ("unsupported-signature", None),
        Why::Revoked => ("certificate-revoked", None),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => ("wrong-purpose", None),
        _ => ("bad-certificate", None),
    }
}

/// rustls shows names as its own types print them: `DnsName("example.com")`, `IpAddress(192.0.2.1)`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// A length of time, roughly.
fn spoken(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

macro_rules! alerts {
    ($($alert:ident => $label:literal),* $(,)?) => {
        /// An alert of the peer's. RFC 8446 §6
        const fn alert_label(alert: AlertDescription) -> &'static str {
            match alert {
                $(AlertDescription::$alert => concat!("peer-alert-", $label),)*
                _ => "peer-alert-other",
            }
        }
    };
}

alerts! {
    CloseNotify => "close-notify", UnexpectedMessage => "unexpected-message", BadRecordMac => "bad-record-mac",
    RecordOverflow => "record-overflow", HandshakeFailure => "handshake-failure", BadCertificate => "bad-certificate",
    UnsupportedCertificate => "unsupported-certificate", CertificateRevoked => "certificate-revoked",
    CertificateExpired => "certificate-expired", CertificateUnknown => "certificate-unknown",
    IllegalParameter => "illegal-parameter", UnknownCA => "unknown-ca", AccessDenied => "access-denied",
    DecodeError => "decode-error", DecryptError => "decrypt-error", ProtocolVersion => "protocol-version",
    InsufficientSecurity => "insufficient-security", InternalError => "internal-error",
    InappropriateFallback => "inappropriate-fallback", UserCanceled => "user-canceled",
    NoRenegotiation => "no-renegotiation", MissingExtension => "missing-extension",
    UnsupportedExtension => "unsupported-extension", UnrecognisedName => "unrecognized-name",
    CertificateRequired => "certificate-required", NoApplicationProtocol => "no-application-protocol",
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{ServerName, UnixTime};
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn causes_have_names_and_words() {
        let not_for = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("api.example.com").unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (error, label, detail) in [
            (
                CertificateError::ExpiredContext { time: at(200_000), not_after: at(100) }.into(),
                "certificate-expired",
                "the certificate expired 2 days ago",
            ),
            (
                CertificateError::NotValidYetContext { time: at(0), not_before: at(7_199) }.into(),
                "certificate-not-yet-valid",
                "the certificate will be valid in 119 min",
            ),
            (
                not_for(&["DnsName(\"example.com\")", "IpAddress(192.0.2.1)"]).into(),
                "name-mismatch",
                "the certificate is for example.com, 192.0.2.1, not for api.example.com",
            ),
            (not_for(&[]).into(), "name-mismatch", "the certificate is for no name at all, not for api.example.com"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "peer-alert-unknown-ca", "the peer gave up: UnknownCA"),
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                "no-common-protocol-version",
                "peer is incompatible: Tls12NotOfferedOrEnabled",
            ),
        ] {
            let expected = HandshakeError::Tls { label, detail: detail.to_owned() };
            assert_eq!(failure(&error), expected, "{error:?}");
        }
    }
}
