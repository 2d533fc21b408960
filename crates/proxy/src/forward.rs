//! What a message looks like on the other side: hop-by-hop fields end here, and what we testify is added.

use http::{Method, StatusCode};
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::Fields;
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::hop;
use sheave_proto::known::Known;
use sheave_proto::text::OwnedText;
use sheave_proto::version::Version;
use sheave_server::answer::Answer;

use crate::settled::Settled;
use crate::testimony::{Client, remove_testimony, testify};
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

/// Edits a request's head in place for the way to the origin. `framed` says how its content is framed, where that is known
/// already; its fields say it otherwise.
pub(crate) fn prepare_request(
    head: &mut RequestHead,
    framed: Option<BodyLength>,
    client: Client,
    config: &Settled,
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

fn rewrite(head: &mut RequestHead, client: Client, config: &Settled) -> Result<(), Answer> {
    if config.via.as_ref().is_some_and(|via| via.is_in(head.fields())) {
        return Err(Answer::new(StatusCode::LOOP_DETECTED, "proxy-loop"));
    }
    let (version, host) = (head.version(), head.authority_text().map(OwnedText::from));
    let offer = upgrade::offer(head, &config.upgrades);
    let fields = head.fields_mut();
    let takes_trailers = fields.has_token(Known::Te, "trailers");
    hop::strip_hop_by_hop(fields).map_err(Answer::to_error)?;
    if takes_trailers {
        // As ours, to origins of HTTP/2: gRPC asks for it. RFC 9110 §10.1.4, RFC 9113 §8.2.2
        let _ = fields.push(Known::Te, b"trailers");
    }
    testify(fields, client, host.as_ref().map(OwnedText::as_text), config);
    append_via(fields, version, config);
    if let Some(offer) = offer {
        // Made of what was a field before. It is for the next hop, as ours.
        let _ = fields.push(Known::Upgrade, &offer);
    }
    Ok(())
}

/// Removes from a request's trailers what is meant for this hop alone, and what only a proxy says, whoever sent it: an
/// origin may merge trailers into the head (RFC 9110 §6.5.1), where what stands there is ours.
///
/// Whoever is trusted to speak in the head is not asked for here: trailers come too late to be of use to anybody honest.
pub(crate) fn prepare_request_trailers(trailers: &mut Fields, config: &Settled) {
    if hop::strip_hop_by_hop(trailers).is_err() {
        trailers.clear();
    }
    trailers.remove(Known::Via);
    remove_testimony(trailers, config);
}

/// Edits a response's head, interim or final, in place for the way to the client. Says how its content is framed.
pub(crate) fn prepare_response(
    head: &mut ResponseHead,
    method: &Method,
    config: &Settled,
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

fn append_via(fields: &mut Fields, version: Version, config: &Settled) {
    if let Some(via) = &config.via {
        via.append_to(fields, version);
    }
}

/// Whether a second such request does what one does. RFC 9110 §9.2.2
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}
