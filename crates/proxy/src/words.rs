//! A request for a tunnel in the words of the version that the origin speaks, and its answer in those of the client's.
//!
//! HTTP/1 says Upgrade, HTTP/2 says CONNECT with `:protocol`. RFC 8441

use std::hash::{BuildHasher, Hasher, RandomState};

use http::{Method, StatusCode};
use sheave_proto::error::{Misuse, ProtocolError};
use sheave_proto::h2_upgrade::{Handshake, request_into_http1, request_into_http2};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proto::version::Version;

/// What is sent to an origin instead of the client's request, because it says the same there.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) head: RequestHead,
    handshake: Option<Translation>,
}

/// What of the answer has to be put back into the client's words.
#[derive(Clone, Debug)]
pub(crate) enum Translation {
    /// The client speaks HTTP/1, the origin HTTP/2.
    FromHttp2(Handshake),
    /// The client speaks HTTP/2, the origin HTTP/1.
    FromHttp1(Handshake),
}

impl Translated {
    /// What is needed when the answer comes.
    pub(crate) fn into_parts(self) -> (RequestHead, Option<Translation>) {
        (self.head, self.handshake)
    }
}

/// Whether a request asks for a tunnel, in either version's words.
pub(crate) fn asks_for_tunnel(head: &RequestHead) -> bool {
    head.protocol().is_some() || head.fields().contains(Known::Upgrade)
}

/// What is sent to an origin that speaks `version`; `None` where the request can go as it is. An offer to an origin that takes
/// none (`takes_connect` says so of HTTP/2) is left out: it is a request like any other then.
///
/// # Errors
/// The client asks for nothing but a tunnel, and there is no way to say so.
pub(crate) fn for_origin(
    head: &RequestHead,
    version: Version,
    takes_connect: bool,
) -> Result<Option<Translated>, Misuse> {
    match (head.protocol().is_some(), version) {
        (true, Version::Http2) if takes_connect => Ok(None),
        (true, Version::Http2) => Err(Misuse::SwitchWithoutUpgrade),
        (true, _) => {
            let (head, handshake) =
                request_into_http1(head.clone(), nonce()).map_err(|_| Misuse::SwitchWithoutUpgrade)?;
            Ok(Some(Translated { head, handshake: Some(Translation::FromHttp1(handshake)) }))
        }
        (false, Version::Http2) if head.fields().contains(Known::Upgrade) => {
            let mut plain = head.clone();
            // It was for this hop, and is gone; the offer was made all the same.
            let _ = plain.fields_mut().set(Known::Connection, b"upgrade");
            if let Some((head, handshake)) = request_into_http2(&plain).filter(|_| takes_connect) {
                return Ok(Some(Translated { head, handshake: Some(Translation::FromHttp2(handshake)) }));
            }
            plain.fields_mut().remove(Known::Connection);
            plain.fields_mut().remove(Known::Upgrade);
            Ok(Some(Translated { head: plain, handshake: None }))
        }
        (false, _) => Ok(None),
    }
}

/// The answer in the client's words.
///
/// # Errors
/// It is not one to the question.
pub(crate) fn for_client(head: ResponseHead, translation: Option<&Translation>) -> Result<ResponseHead, ProtocolError> {
    match translation {
        None => Ok(head),
        Some(Translation::FromHttp2(handshake)) => Ok(handshake.into_http1(head)),
        Some(Translation::FromHttp1(handshake)) => handshake.into_http2(head),
    }
}

/// Whether such an answer to such a request makes a tunnel. RFC 9110 §7.8, §9.3.6
pub(crate) fn is_switch(request: &RequestHead, response: &ResponseHead) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (*request.method() == Method::CONNECT && response.status().is_success())
}

/// Sixteen bytes that nobody can guess: keyed by the system's randomness, anew for each. RFC 6455 §4.1
fn nonce() -> [u8; 16] {
    let word = || RandomState::new().build_hasher().finish().to_ne_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&word());
    nonce[8..].copy_from_slice(&word());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade() -> RequestHead {
        let mut head = RequestHead::new(Method::GET, "/chat").expect("a target");
        for (name, value) in
            [("Host", "a"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Upgrade", "websocket")]
        {
            head.fields_mut().push_named(name, value.as_bytes()).expect("a field");
        }
        head
    }

    fn answer(status: u16) -> ResponseHead {
        ResponseHead::new(StatusCode::from_u16(status).expect("a status"))
    }

    #[test]
    fn an_offer_goes_as_it_is_to_an_origin_of_the_same_version() {
        for version in [Version::Http10, Version::Http11] {
            assert!(for_origin(&upgrade(), version, false).expect("can be said").is_none());
        }
        assert!(asks_for_tunnel(&upgrade()));
        let plain = RequestHead::new(Method::GET, "/").expect("a target");
        assert!(for_origin(&plain, Version::Http2, true).expect("can be said").is_none() && !asks_for_tunnel(&plain));
    }

    #[test]
    fn an_offer_becomes_a_connect_and_its_answer_a_101() {
        let sent = for_origin(&upgrade(), Version::Http2, true).expect("can be said").expect("is translated");
        let (head, translation) = sent.into_parts();
        assert_eq!((head.method(), head.protocol(), head.target()), (&Method::CONNECT, Some("websocket"), "/chat"));
        assert!(!head.fields().contains(Known::Upgrade) && !head.fields().contains(Known::Connection));
        let head = for_client(answer(200), translation.as_ref()).expect("is an answer");
        assert_eq!(head.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(head.fields().get_str(Known::SecWebSocketAccept), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(is_switch(&upgrade(), &head));
        let refused = for_client(answer(403), translation.as_ref()).expect("is an answer");
        assert!(!is_switch(&upgrade(), &refused));
    }

    #[test]
    fn an_offer_is_left_out_where_it_cannot_be_made() {
        let sent = for_origin(&upgrade(), Version::Http2, false).expect("can be said").expect("is another");
        let (head, translation) = sent.into_parts();
        assert!(translation.is_none() && *head.method() == Method::GET);
        assert!(!head.fields().contains(Known::Upgrade) && !head.fields().contains(Known::Connection));
    }

    #[test]
    fn a_connect_becomes_an_offer_and_a_101_a_200() {
        let made = for_origin(&upgrade(), Version::Http2, true).expect("can be said").expect("is translated");
        let (connect, _) = made.into_parts();
        assert!(for_origin(&connect, Version::Http2, true).expect("can be said").is_none());
        assert_eq!(for_origin(&connect, Version::Http2, false).err(), Some(Misuse::SwitchWithoutUpgrade));
        let sent = for_origin(&connect, Version::Http11, false).expect("can be said").expect("is translated");
        let (head, translation) = sent.into_parts();
        assert_eq!((head.method(), head.target()), (&Method::GET, "/chat"));
        assert_eq!(head.fields().get_str(Known::Upgrade), Some("websocket"));
        let key = head.fields().get_str(Known::SecWebSocketKey).expect("has one").to_owned();
        assert_eq!(key.len(), 24);
        // Without the right answer to the key it is none.
        assert!(for_client(answer(101), translation.as_ref()).is_err());
        let refused = for_client(answer(404), translation.as_ref()).expect("is an answer");
        assert!(!is_switch(&connect, &refused));
        assert!(is_switch(&connect, &answer(200)));
        assert_ne!(nonce(), nonce());
    }
}
