//! What a message looks like on the other side: hop-by-hop fields end here, and what we testify is added.

use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode};
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::{Field, Fields};
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::hop;
use sheave_proto::known::Known;
use sheave_proto::version::Version;
use sheave_server::answer::Answer;
use smallvec::SmallVec;

use crate::config::ProxyConfig;
use crate::upgrade;

/// What becomes of a request.
pub(crate) enum Onward {
    /// It goes to an origin, with a body so framed.
    Forward(BodyLength),
    /// It ends here: what it asks for is ours to answer.
    Local(Local),
    /// It ends here, with an error.
    Refuse(Answer),
}

/// Requests that a proxy answers as their last recipient. RFC 9110 §7.6.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Local {
    /// OPTIONS with no hop left.
    Options,
    /// TRACE with no hop left: reflecting requests is of use to attackers alone, so it is not done.
    Trace,
}

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
    const fn scheme(self) -> &'static str {
        if self.is_secured { "https" } else { "http" }
    }
}

/// Edits a request's head in place for the way to the origin. `framed` says how its content is framed, where that is known
/// already; its fields say it otherwise.
pub(crate) fn prepare_request(
    head: &mut RequestHead,
    framed: Option<BodyLength>,
    client: Client,
    config: &ProxyConfig,
) -> Onward {
    match onward(head, framed) {
        Ok(Onward::Forward(body)) => match rewrite(head, client, config) {
            Ok(()) => Onward::Forward(body),
            Err(answer) => Onward::Refuse(answer),
        },
        Ok(other) => other,
        Err(error) => Onward::Refuse(Answer::to_error(error)),
    }
}

fn onward(head: &mut RequestHead, framed: Option<BodyLength>) -> Result<Onward, ProtocolError> {
    let body = framed.map_or_else(|| framing::request_body(head), Ok)?;
    match hop::max_forwards(head)? {
        Some(0) if *head.method() == Method::TRACE => Ok(Onward::Local(Local::Trace)),
        Some(0) => Ok(Onward::Local(Local::Options)),
        Some(hops) => {
            // A number has no byte that a field could not have.
            let _ = head.fields_mut().set(Known::MaxForwards, (hops - 1).to_string().as_bytes());
            Ok(Onward::Forward(body))
        }
        None => Ok(Onward::Forward(body)),
    }
}

fn rewrite(head: &mut RequestHead, client: Client, config: &ProxyConfig) -> Result<(), Answer> {
    let version = head.version();
    let host = head.authority().map(|host| Text::from_slice(host.as_bytes()));
    let fields = head.fields_mut();
    if let Some(pseudonym) = &config.pseudonym
        && hop::via_contains(fields, pseudonym)
    {
        return Err(Answer::new(StatusCode::LOOP_DETECTED, "proxy-loop"));
    }
    let offer = upgrade::offer(head, &config.upgrades);
    let fields = head.fields_mut();
    let takes_trailers = fields.list(Known::Te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    hop::strip_hop_by_hop(fields).map_err(Answer::to_error)?;
    if takes_trailers {
        // As ours, to origins of HTTP/2: gRPC asks for it. RFC 9110 §10.1.4, RFC 9113 §8.2.2
        let _ = fields.push(Known::Te, b"trailers");
    }
    testify(fields, client, host.as_deref(), config);
    append_via(fields, version, config);
    if let Some(offer) = offer {
        // Made of what was a field before. It is for the next hop, as ours.
        let _ = fields.push(Known::Upgrade, &offer);
    }
    Ok(())
}

/// Sets the fields in which a proxy says for whom it asks. RFC 7239
///
/// What a client says of itself is replaced unless it is trusted: an origin could not tell it from what we say.
fn testify(fields: &mut Fields, client: Client, host: Option<&[u8]>, config: &ProxyConfig) {
    let scheme = client.scheme();
    let client = client.peer.map(|peer| peer.ip().to_canonical());
    let is_trusted = client.is_some_and(|client| config.trust.as_ref().is_some_and(|trust| trust(client)));
    let address = address_of(client);
    // RFC 7239 §6: an IPv6 address is quoted and in brackets.
    let (before, after) = if matches!(client, Some(IpAddr::V6(_))) { ("for=\"[", "]\"") } else { ("for=", "") };
    let (host_before, host_after) = if host.is_some() { (";host=\"", "\"") } else { ("", "") };
    let forwarded: [&[u8]; 8] = [
        before.as_bytes(),
        &address,
        after.as_bytes(),
        host_before.as_bytes(),
        host.unwrap_or_default(),
        host_after.as_bytes(),
        b";proto=",
        scheme.as_bytes(),
    ];
    if is_trusted {
        append(fields, Known::Forwarded, &forwarded.concat());
        append(fields, Known::XForwardedFor, &address);
        for (name, value) in [(Known::XForwardedHost, host), (Known::XForwardedProto, Some(scheme.as_bytes()))] {
            if !fields.contains(name)
                && let Some(value) = value
            {
                let _ = fields.push(name, value);
            }
        }
        return;
    }
    fields.retain(|field| !is_testimony(field) && (config.keeps_underscores || !has_underscore(field)));
    let _ = fields.push(Known::XForwardedFor, &address);
    if let Some(host) = host {
        let _ = fields.push(Known::XForwardedHost, host);
    }
    let _ = fields.push(Known::XForwardedProto, scheme.as_bytes());
    let _ = fields.push_joined(Known::Forwarded, &forwarded);
}

/// What becomes a field's value: seldom longer, and then on the heap.
type Text = SmallVec<[u8; 96]>;

/// An address as the forwarding fields have it, or what stands there for one that is not known (RFC 7239 §6).
///
/// Without the formatter where most addresses are of IPv4: this is done for each request.
fn address_of(client: Option<IpAddr>) -> Text {
    let mut text = Text::new();
    match client {
        Some(IpAddr::V4(address)) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                if octet >= 100 {
                    text.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    text.push(b'0' + octet / 10 % 10);
                }
                text.push(b'0' + octet % 10);
            }
        }
        Some(IpAddr::V6(address)) => text.extend_from_slice(address.to_string().as_bytes()),
        None => text.extend_from_slice(b"unknown"),
    }
    text
}

/// One more member at the end of a list.
fn append(fields: &mut Fields, name: Known, member: &[u8]) {
    let mut list: Vec<u8> = Vec::new();
    for line in fields.get_all(name) {
        list.extend_from_slice(line);
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member);
    // Made of values that were fields before, and of text without controls.
    let _ = fields.set(name, &list);
}

/// Removes from a request's trailers what is meant for this hop alone, and what only a proxy says, whoever sent it: an
/// origin may merge trailers into the head (RFC 9110 §6.5.1), where what stands there is ours.
///
/// Whoever is trusted to speak in the head is not asked for here: trailers come too late to be of use to anybody honest.
pub(crate) fn prepare_request_trailers(trailers: &mut Fields, config: &ProxyConfig) {
    if hop::strip_hop_by_hop(trailers).is_err() {
        trailers.clear();
    }
    trailers.retain(|field| {
        let is_kept = config.keeps_underscores || !has_underscore(field);
        is_kept && !is_testimony(field) && field.known() != Some(Known::Via)
    });
}

/// Whether an origin that turns fields into environment variables could take it for another, with `-` for `_`.
fn has_underscore(field: Field<'_>) -> bool {
    field.known().is_none() && field.name().contains('_')
}

/// Whether it says for whom a proxy asks, or looks to an origin as if it did.
fn is_testimony(field: Field<'_>) -> bool {
    match field.known() {
        Some(
            Known::Forwarded
            | Known::XForwardedFor
            | Known::XForwardedHost
            | Known::XForwardedProto
            | Known::XForwardedPort
            | Known::XRealIp,
        ) => true,
        Some(_) => false,
        // Names with `_` for `-` are the same to origins that turn fields into environment variables.
        None => is_look_alike(field.name()),
    }
}

/// `X_Forwarded_For`, `x_real_ip` and every other spelling that an origin could take for ours.
fn is_look_alike(name: &str) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    const WHOLE: [&[u8]; 2] = [b"x-real-ip", b"forwarded"];
    let matches = |pattern: &[u8], name: &[u8]| {
        pattern.len() == name.len()
            && pattern.iter().zip(name).all(|(expected, byte)| match byte {
                b'_' => *expected == b'-',
                byte => expected.eq_ignore_ascii_case(byte),
            })
    };
    let name = name.as_bytes();
    name.get(..PREFIX.len()).is_some_and(|begin| matches(PREFIX, begin))
        || WHOLE.iter().any(|whole| matches(whole, name))
}

/// Edits a response's head, interim or final, in place for the way to the client. Says how its content is framed.
pub(crate) fn prepare_response(
    head: &mut ResponseHead,
    method: &Method,
    config: &ProxyConfig,
) -> Result<BodyLength, ProtocolError> {
    // Where there is no content, what the fields declare is passed on all the same. RFC 9110 §8.6
    let body = if framing::allows_content(head.status(), method) {
        framing::response_body(head, method)?
    } else {
        framing::declared_length(head)?
    };
    let version = head.version();
    let protocols = upgrade::answer(head, &config.upgrades);
    hop::strip_hop_by_hop(head.fields_mut())?;
    append_via(head.fields_mut(), version, config);
    if let Some(protocols) = protocols {
        // Made of what was a field before.
        let _ = head.fields_mut().push(Known::Upgrade, &protocols);
    }
    Ok(body)
}

fn append_via(fields: &mut Fields, version: Version, config: &ProxyConfig) {
    if let Some(pseudonym) = &config.pseudonym {
        // The pseudonym is checked when the proxy is built, and not for each message. RFC 9110 §7.6.3
        let _ = fields.push_joined(Known::Via, &[version.number().as_bytes(), b" ", pseudonym.as_bytes()]);
    }
}

/// Whether a second such request does what one does. RFC 9110 §9.2.2
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_formatter_writes_them() {
        for text in ["0.0.0.0", "9.10.99.100", "255.255.255.255", "127.0.0.1", "192.0.2.109", "2001:db8::1", "::"] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(address_of(Some(address)).as_slice(), address.to_string().as_bytes());
        }
        assert_eq!(address_of(None).as_slice(), b"unknown");
    }
}
