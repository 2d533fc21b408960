//! Interim responses of services that own their request.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::slot::Slot;

/// Sends interim responses (1xx) ahead of the final one. An `http::Request` that is made of an exchange has one among its
/// extensions where its service [wants](crate::callee::Callee::wants_interim) one, as with
/// [`ServiceFn::with_interim`](crate::service::ServiceFn::with_interim). Clones are the same.
///
/// RFC 9110 §15.2. A client of HTTP/1.0 gets none.
#[derive(Clone)]
pub struct Interim(Arc<Slot>);

impl Interim {
    pub(crate) const fn of(slot: Arc<Slot>) -> Self {
        Self(slot)
    }

    /// Sends 103 with `fields`, which are mostly `Link`. RFC 8297
    ///
    /// It leaves when the service waits for the first time. After the final response it is forgotten.
    pub fn early_hints(&self, fields: HeaderMap) {
        self.0.push_interim(StatusCode::EARLY_HINTS, fields);
    }

    /// Sends 102, so that a client knows that its request is worked on. RFC 2518 §10.1
    pub fn processing(&self) {
        self.0.push_interim(StatusCode::PROCESSING, HeaderMap::new());
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim").finish_non_exhaustive()
    }
}
