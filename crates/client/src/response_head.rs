//! A response's head as it was read, which becomes a map of the ecosystem's once somebody wants one.

use std::sync::OnceLock;

use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, Version};
use sheave_proto::fields::Fields;
use sheave_proto::head::ResponseHead;
use sheave_proto::version::Version as Spoken;

/// How many fields a map takes for certain: three quarters of the 32,768 places that it may have.
pub(crate) const MAX_FIELDS: usize = 24_576;

/// A response's head. Whoever asks for nothing but the status and the content never pays for a map, which costs as much as
/// to read the head.
#[derive(Debug)]
pub(crate) struct Head {
    read: ResponseHead,
    /// In a box, which costs less than to carry its place around.
    map: OnceLock<Box<HeaderMap>>,
}

impl Head {
    /// `None` where it has more fields than a map takes.
    pub(crate) fn of(read: ResponseHead) -> Option<Self> {
        (read.fields().len() <= MAX_FIELDS).then_some(Self { read, map: OnceLock::new() })
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.read.status()
    }

    /// The version that the origin speaks.
    pub(crate) fn version(&self) -> Version {
        match self.read.version() {
            Spoken::Http10 => Version::HTTP_10,
            Spoken::Http11 => Version::HTTP_11,
            Spoken::Http2 => Version::HTTP_2,
        }
    }

    /// The fields as they were read.
    pub(crate) fn fields(&self) -> &Fields {
        self.read.fields()
    }

    /// The fields, before anybody has seen the map.
    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        self.read.fields_mut()
    }

    /// The fields as a map.
    pub(crate) fn map(&self) -> &HeaderMap {
        self.map.get_or_init(|| Box::new(map_of(&self.read)))
    }

    /// The map, to edit.
    pub(crate) fn map_mut(&mut self) -> &mut HeaderMap {
        self.map();
        self.map.get_mut().expect("it has just been made")
    }

    /// All of it in the ecosystem's type.
    pub(crate) fn into_parts(self) -> Parts {
        let (status, version) = (self.status(), self.version());
        let (mut parts, ()) = Response::new(()).into_parts();
        (parts.status, parts.version) = (status, version);
        parts.headers = match self.map.into_inner() {
            Some(map) => *map,
            None => map_of(&self.read),
        };
        parts
    }
}

fn map_of(head: &ResponseHead) -> HeaderMap {
    HeaderMap::try_from(head.fields()).expect("a map takes so many fields")
}

#[cfg(test)]
mod tests {
    use sheave_proto::known::Known;

    use super::*;

    fn head(lines: usize) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::OK);
        for number in 0..lines {
            head.fields_mut().push_named(&format!("x-{number}"), b"1").unwrap();
        }
        head
    }

    #[test]
    fn the_map_takes_what_is_let_through() {
        assert_eq!(Head::of(head(MAX_FIELDS)).unwrap().map().len(), MAX_FIELDS);
        assert_eq!(Head::of(head(MAX_FIELDS)).unwrap().into_parts().headers.len(), MAX_FIELDS);
        assert!(Head::of(head(MAX_FIELDS + 1)).is_none());
    }

    #[test]
    fn what_was_edited_is_what_is_given_away() {
        let mut read = ResponseHead::new(StatusCode::NOT_FOUND);
        read.fields_mut().push(Known::Etag, b"x").unwrap();
        let mut head = Head::of(read).unwrap();
        head.fields_mut().push(Known::Age, b"1").unwrap();
        assert_eq!(head.map()["age"], "1");
        head.map_mut().remove("etag");
        let parts = head.into_parts();
        assert_eq!((parts.status, parts.headers.len()), (StatusCode::NOT_FOUND, 1));
    }
}
