//! Interim responses, shown to whoever wants to see them before the final one is here.

use std::fmt;
use std::sync::Arc;

use http::{Response, StatusCode};
use sheave_proto::head::ResponseHead;

use crate::response_head::Head;

type Show = dyn Fn(&Response<()>) + Send + Sync;

/// Who is shown interim responses.
#[derive(Clone)]
pub(crate) struct OnInformational(Arc<Show>);

impl OnInformational {
    pub(crate) fn new(show: impl Fn(&Response<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// Shows what is one: a 101 is the last response of its connection.
    pub(crate) fn show(&self, heads: &[ResponseHead]) {
        for head in heads.iter().filter(|head| head.status() != StatusCode::SWITCHING_PROTOCOLS) {
            if let Some(head) = Head::of(head.clone()) {
                (self.0)(&Response::from_parts(head.into_parts(), ()));
            }
        }
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnInformational").finish_non_exhaustive()
    }
}
