//! The heads of both kinds of message: start line and fields.

use http::{Method, StatusCode};
use smallvec::SmallVec;

use crate::error::{InvalidField, ProtocolError};
use crate::fields::Fields;
use crate::grammar::is_text;
use crate::known::Known;
use crate::target::{Target, TargetForm};
use crate::text::Text;
use crate::version::Version;

/// A request's start line and fields. The target is checked and fits the method (RFC 9112 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    method: Method,
    target: Target,
    version: Version,
    /// Whether an HTTP/2 message ended with its head, so that no content follows. In HTTP/1 the fields say it.
    has_ended: bool,
    /// `:protocol`. RFC 8441 §4
    protocol: Option<Box<str>>,
    fields: Fields,
}

impl RequestHead {
    /// A head of HTTP/1.1 without fields. A Host is needed before it can be written.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidTarget`] or [`ProtocolError::TargetFormMismatch`], as for a target that was received.
    pub fn new(method: Method, target: &str) -> Result<Self, ProtocolError> {
        let target = Target::parse(&method, target.as_bytes())?;
        Ok(Self { method, target, version: Version::Http11, has_ended: false, protocol: None, fields: Fields::new() })
    }

    pub(crate) const fn from_parsed(method: Method, target: Target, version: Version, fields: Fields) -> Self {
        Self { method, target, version, has_ended: false, protocol: None, fields }
    }

    /// A head of HTTP/2. With a protocol, the method is CONNECT and the target a path (RFC 8441 §4).
    pub(crate) fn from_stream(
        method: Method,
        target: Target,
        protocol: Option<&str>,
        has_ended: bool,
        fields: Fields,
    ) -> Self {
        Self { method, target, version: Version::Http2, has_ended, protocol: protocol.map(Into::into), fields }
    }

    /// The same request for a tunnel in the other protocol's words: another method, another `:protocol`, the same target and
    /// fields. What follows it is the tunnel's, and no content.
    pub(crate) fn into_asking(self, method: Method, protocol: Option<&str>) -> Self {
        Self { method, protocol: protocol.map(Into::into), has_ended: true, ..self }
    }

    /// The method, in the case in which it came (RFC 9110 §9.1: methods are case-sensitive).
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The protocol that a CONNECT of HTTP/2 asks to speak in its stream, such as `websocket` (`:protocol`, RFC 8441 §4).
    ///
    /// The target is then a path, and Host says for whom it is, as in a GET. See [`crate::h2_upgrade`] for what it is in
    /// HTTP/1.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Whether it came in HTTP/2 and no content follows it. In HTTP/1 the fields say it: always false.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The sender's version; what we write to a peer of HTTP/1 says 1.1 whatever stands here.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The request target, byte for byte as it came.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// The target's form.
    #[must_use]
    pub const fn form(&self) -> TargetForm {
        self.target.form()
    }

    /// The target as an origin server expects it (RFC 9112 §3.2.1, §3.2.4): path and query of an absolute form, `/` for
    /// an empty path, `*` for OPTIONS without a path. CONNECT has no path: there it is the target as it came.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.target.path_and_query()
    }

    /// Whether `target` was lent by [`path_and_query`](Self::path_and_query), and so was looked at when it came.
    pub(crate) fn holds_target(&self, target: &str) -> bool {
        self.target.holds(target)
    }

    /// The authority that the request is for: the target's, else Host's.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.target.authority().or_else(|| self.fields.get_str(Known::Host))
    }

    /// As [`authority`](Self::authority), as what can stand in a field.
    #[must_use]
    pub fn authority_text(&self) -> Option<Text<'_>> {
        let of_target = self.target.authority().map(|authority| Text::of_parsed(authority.as_bytes()));
        of_target.or_else(|| self.fields.get_text(Known::Host))
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields, to edit.
    pub const fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Puts another target in place. Host is not changed.
    ///
    /// # Errors
    /// As for [`new`](Self::new); nothing is changed then.
    pub fn set_target(&mut self, target: &str) -> Result<(), ProtocolError> {
        // RFC 8441 §4: with a protocol, CONNECT has a path like any other request.
        let method = if self.protocol.is_some() { &Method::GET } else { &self.method };
        self.target = Target::parse(method, target.as_bytes())?;
        Ok(())
    }

    /// The fields alone.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.fields
    }
}

/// A response's status line and fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    status: StatusCode,
    version: Version,
    /// As in a request's head.
    has_ended: bool,
    reason: Reason,
    fields: Fields,
}

/// Reasons up to this length need no allocation: the registry's longest has 31 bytes.
pub(crate) type Reason = SmallVec<[u8; 32]>;

impl ResponseHead {
    /// A head of HTTP/1.1 without fields, with the registry's reason for the status, if it has one.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let reason = Reason::from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        Self { status, version: Version::Http11, has_ended: false, reason, fields: Fields::new() }
    }

    pub(crate) const fn from_parsed(status: StatusCode, version: Version, reason: Reason, fields: Fields) -> Self {
        Self { status, version, has_ended: false, reason, fields }
    }

    /// A head of HTTP/2, which has no reason phrase: the registry's, as in [`new`](Self::new).
    pub(crate) fn from_stream(status: StatusCode, has_ended: bool, fields: Fields) -> Self {
        Self { version: Version::Http2, has_ended, fields, ..Self::new(status) }
    }

    /// Whether it came in HTTP/2 and no content follows it. In HTTP/1 the fields say it: always false.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The same response under another status, in the words of another protocol.
    pub(crate) fn into_status(self, status: StatusCode) -> Self {
        Self { fields: self.fields, version: self.version, has_ended: self.has_ended, ..Self::new(status) }
    }

    /// The status: 100 to 599 when it was received.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sender's version; what we write says 1.1 whatever stands here.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The reason phrase, byte for byte; empty if there is none. It means nothing (RFC 9112 §4).
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// Puts another reason phrase in place.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when it holds CR, LF, NUL or another control byte; nothing is changed then.
    pub fn set_reason(&mut self, reason: &[u8]) -> Result<(), InvalidField> {
        if !is_text(reason) {
            return Err(InvalidField::Value);
        }
        self.reason = Reason::from_slice(reason);
        Ok(())
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields, to edit.
    pub const fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The fields alone.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_refused_changes_nothing() {
        let mut head = RequestHead::new(Method::GET, "/a?b").unwrap();
        for target in ["", "*", "b", "/a b", "/\r\nX: y"] {
            assert!(RequestHead::new(Method::GET, target).is_err(), "{target:?}");
            assert!(head.set_target(target).is_err(), "{target:?}");
            assert_eq!((head.target(), head.form()), ("/a?b", TargetForm::Origin));
        }
        head.set_target("/c").unwrap();
        assert_eq!((head.target(), head.path_and_query()), ("/c", "/c"));
    }

    #[test]
    fn the_targets_authority_comes_before_host() {
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        assert_eq!(head.authority(), None);
        head.fields_mut().push(Known::Host, b"a:1").unwrap();
        assert_eq!(head.authority(), Some("a:1"));
        head.set_target("http://b/").unwrap();
        assert_eq!(head.authority(), Some("b"));
        assert_eq!(head.into_fields().get_str(Known::Host), Some("a:1"));
    }

    #[test]
    fn new_responses_have_the_registrys_reason() {
        let head = ResponseHead::new(StatusCode::NOT_FOUND);
        assert_eq!((head.reason(), head.version()), (&b"Not Found"[..], Version::Http11));
        assert_eq!(ResponseHead::new(StatusCode::from_u16(299).unwrap()).reason(), b"");
        assert!(head.into_fields().is_empty());
    }

    #[test]
    fn heads_move_cheaply() {
        assert!(size_of::<RequestHead>() <= 200, "{}", size_of::<RequestHead>());
        assert!(size_of::<ResponseHead>() <= 104, "{}", size_of::<ResponseHead>());
    }
}
