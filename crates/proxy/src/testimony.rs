//! For whom a proxy asks, as it tells the origin: `Forwarded` and `X-Forwarded-*`, and nobody else's word for it.

use std::net::{IpAddr, SocketAddr};

use sheave_proto::fields::{Field, Fields};
use sheave_proto::known::Known;
use sheave_proto::known_set::KnownSet;
use sheave_proto::text::{OwnedText, Text};

use crate::config::ProxyConfig;

/// For whom a proxy asks.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    /// Its address, where it has one.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether it came by TLS.
    pub(crate) is_secured: bool,
}

impl Client {
    /// The scheme of what it asked for.
    const fn scheme(self) -> Text<'static> {
        const HTTP: Text<'_> = Text::literal("http");
        const HTTPS: Text<'_> = Text::literal("https");
        if self.is_secured { HTTPS } else { HTTP }
    }

    /// Its address, as those know it that speak IPv4 alone.
    fn address(self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}

/// The fields in which only a proxy speaks.
const TESTIMONY: KnownSet = KnownSet::of(&[
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XForwardedPort,
    Known::XRealIp,
]);

/// Sets the fields in which a proxy says for whom it asks, and for which host. RFC 7239
///
/// What a client says of itself is replaced unless it is trusted: an origin could not tell it from what we say.
pub(crate) fn testify(fields: &mut Fields, client: Client, host: Option<Text<'_>>, config: &ProxyConfig) {
    let (scheme, address) = (client.scheme(), client.address());
    // RFC 7239 §6: what stands there for an address that is not known.
    const UNKNOWN: Text<'_> = Text::literal("unknown");
    let written = address.map(OwnedText::from);
    let written = written.as_ref().map_or(UNKNOWN, OwnedText::as_text);
    let forwarded = forwarded(address.is_some_and(|address| address.is_ipv6()), written, host, scheme);
    // What cannot be added is what makes all lines together exceed 4 GiB.
    if address.is_some_and(|address| config.trust.as_ref().is_some_and(|trust| trust(address))) {
        append(fields, Known::Forwarded, &forwarded);
        append(fields, Known::XForwardedFor, &[written]);
        for (name, value) in [(Known::XForwardedHost, host), (Known::XForwardedProto, Some(scheme))] {
            if !fields.contains(name)
                && let Some(value) = value
            {
                let _ = fields.push_text(name, [value]);
            }
        }
        return;
    }
    remove_testimony(fields, config);
    let _ = fields.push_text(Known::XForwardedFor, [written]);
    if let Some(host) = host {
        let _ = fields.push_text(Known::XForwardedHost, [host]);
    }
    let _ = fields.push_text(Known::XForwardedProto, [scheme]);
    let _ = fields.push_text(Known::Forwarded, forwarded);
}

/// What stands in Forwarded, in parts.
fn forwarded<'a>(is_v6: bool, address: Text<'a>, host: Option<Text<'a>>, scheme: Text<'a>) -> [Text<'a>; 6] {
    // RFC 7239 §6: an IPv6 address is quoted and in brackets.
    let (before, behind) = match (is_v6, host) {
        (false, Some(_)) => (const { Text::literal("for=") }, const { Text::literal(";host=\"") }),
        (true, Some(_)) => (const { Text::literal("for=\"[") }, const { Text::literal("]\";host=\"") }),
        (false, None) => (const { Text::literal("for=") }, const { Text::literal("") }),
        (true, None) => (const { Text::literal("for=\"[") }, const { Text::literal("]\"") }),
    };
    let proto = match host {
        Some(_) => const { Text::literal("\";proto=") },
        None => const { Text::literal(";proto=") },
    };
    [before, address, behind, host.unwrap_or_default(), proto, scheme]
}

/// One more member, in parts, at the end of a list.
fn append(fields: &mut Fields, name: Known, member: &[Text<'_>]) {
    let mut list: Vec<u8> = Vec::new();
    for line in fields.get_all(name) {
        list.extend_from_slice(line);
        list.extend_from_slice(b", ");
    }
    member.iter().for_each(|part| list.extend_from_slice(part.as_bytes()));
    // Made of values that were fields before, and of text without controls.
    let _ = fields.set(name, &list);
}

/// Removes what only a proxy says, and what looks to an origin as if it did.
pub(crate) fn remove_testimony(fields: &mut Fields, config: &ProxyConfig) {
    fields.remove_all(TESTIMONY);
    fields.retain_unknown(|field| !is_look_alike(field) && (config.keeps_underscores || !has_underscore(field)));
}

/// Whether an origin that turns fields into environment variables could take it for another, with `-` for `_`.
fn has_underscore(field: Field<'_>) -> bool {
    field.name_bytes().contains(&b'_')
}

/// `X_Forwarded_For`, `x_real_ip` and every other spelling that an origin could take for ours: names with `_` for `-` are
/// the same to origins that turn fields into environment variables.
fn is_look_alike(field: Field<'_>) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    const WHOLE: [&[u8]; 2] = [b"x-real-ip", b"forwarded"];
    let matches = |pattern: &[u8], name: &[u8]| {
        pattern.len() == name.len()
            && pattern.iter().zip(name).all(|(expected, byte)| match byte {
                b'_' => *expected == b'-',
                byte => expected.eq_ignore_ascii_case(byte),
            })
    };
    let name = field.name_bytes();
    name.get(..PREFIX.len()).is_some_and(|begin| matches(PREFIX, begin))
        || WHOLE.iter().any(|whole| matches(whole, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(fields: &Fields) -> Vec<String> {
        fields.iter().map(|field| format!("{field:?}")).collect()
    }

    #[test]
    fn what_is_said_of_a_client() {
        /// Its address, whether it came by TLS, the host that it asked for, and the lines.
        type Row<'a> = (Option<&'a str>, bool, Option<&'a str>, &'a [&'a str]);
        let table: [Row<'_>; 5] = [
            (
                Some("192.0.2.1:80"),
                false,
                Some("a:8080"),
                &[
                    "X-Forwarded-For: 192.0.2.1",
                    "X-Forwarded-Host: a:8080",
                    "X-Forwarded-Proto: http",
                    "Forwarded: for=192.0.2.1;host=\"a:8080\";proto=http",
                ],
            ),
            (
                Some("[2001:db8::1]:80"),
                true,
                Some("a"),
                &[
                    "X-Forwarded-For: 2001:db8::1",
                    "X-Forwarded-Host: a",
                    "X-Forwarded-Proto: https",
                    "Forwarded: for=\"[2001:db8::1]\";host=\"a\";proto=https",
                ],
            ),
            (
                Some("[::ffff:192.0.2.1]:80"),
                false,
                None,
                &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "Forwarded: for=192.0.2.1;proto=http"],
            ),
            (
                Some("[::1]:80"),
                false,
                None,
                &["X-Forwarded-For: ::1", "X-Forwarded-Proto: http", "Forwarded: for=\"[::1]\";proto=http"],
            ),
            (
                None,
                true,
                Some(""),
                &[
                    "X-Forwarded-For: unknown",
                    "X-Forwarded-Host: ",
                    "X-Forwarded-Proto: https",
                    "Forwarded: for=unknown;host=\"\";proto=https",
                ],
            ),
        ];
        for (peer, is_secured, host, expected) in table {
            let client = Client { peer: peer.map(|peer| peer.parse().expect("an address")), is_secured };
            let host = host.map(|host| Text::new(host.as_bytes()).expect("a value"));
            let mut fields = Fields::new();
            testify(&mut fields, client, host, &ProxyConfig::default());
            let expected: Vec<String> = expected.iter().map(|line| line.replace('"', "\\\"")).collect();
            assert_eq!(lines(&fields), expected);
        }
    }

    #[test]
    fn what_is_removed() {
        let mut fields = Fields::new();
        for name in [
            "forwarded",
            "X-Forwarded-For",
            "x-real-ip",
            "X_Real_IP",
            "FORWARDED",
            "X-Forwarded-Prefix",
            "x_forwarded-prefix",
            "X-Forwarded-",
            "Via",
            "X-Forwarded",
            "X-Real-IP2",
            "a_b",
            "A",
        ] {
            fields.push_named(name, b"1").expect("a line");
        }
        for (keeps_underscores, kept) in [
            (true, &["Via: 1", "X-Forwarded: 1", "X-Real-IP2: 1", "a_b: 1", "A: 1"][..]),
            (false, &["Via: 1", "X-Forwarded: 1", "X-Real-IP2: 1", "A: 1"]),
        ] {
            remove_testimony(&mut fields, &ProxyConfig { keeps_underscores, ..ProxyConfig::default() });
            assert_eq!(lines(&fields), kept);
        }
    }
}
