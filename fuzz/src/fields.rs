//! Fields as they must come out again.

use sheave_proto::fields::Fields;
use sheave_proto::hop::strip_hop_by_hop;
use sheave_proto::known::Known;

/// The lines that no writer takes from fields: framing and Connection are written from the connection's state.
const NEVER_COPIED: [Known; 6] = [
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::ContentLength,
    Known::Upgrade,
];

/// Names and values of the lines that survive a writing and a reading.
pub(crate) fn copied(fields: &Fields) -> Vec<(&str, &[u8])> {
    let stays = |known: Option<Known>| known.is_none_or(|name| !NEVER_COPIED.contains(&name));
    fields.iter().filter(|field| stays(field.known())).map(|field| (field.name(), field.value())).collect()
}

/// RFC 9110 §7.6.1: after the stripping nothing of this hop is left, and what routes and frames the message still is.
pub(crate) fn strips_clean(fields: &Fields) {
    let mut stripped = fields.clone();
    if strip_hop_by_hop(&mut stripped).is_err() {
        assert_eq!(&stripped, fields, "a refusal changes nothing");
        return;
    }
    for name in [Known::Connection, Known::KeepAlive, Known::ProxyConnection, Known::Te, Known::TransferEncoding] {
        assert!(!stripped.contains(name), "{name:?} survived the hop");
    }
    for name in [Known::Host, Known::ContentLength, Known::Via, Known::XForwardedFor] {
        assert_eq!(stripped.count(name), fields.count(name), "a peer's Connection line removed {name:?}");
    }
    let named: Vec<&[u8]> = fields.list(Known::Connection).collect();
    for field in stripped.iter().filter(|field| field.known().is_none()) {
        // X-Forwarded-* is testimony, known by name or not.
        let testimony = field.name().to_ascii_lowercase().starts_with("x-forwarded-");
        assert!(
            testimony || !named.iter().any(|name| field.is_named(name)),
            "{} was named in Connection",
            field.name()
        );
    }
}
