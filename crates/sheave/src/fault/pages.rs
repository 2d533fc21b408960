//! The tally on the admin address, for whom the origin itself cannot be trusted to answer.

use http::{Method, StatusCode};
use sheave_net::socket::Socket;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;

use super::origin::FaultyOrigin;

/// The page at `/`.
const INDEX: &str = "\
a misbehaving origin's tally:

  /tally        as text
  /tally.json   as JSON
";

/// The admin pages of a misbehaving origin.
pub(crate) struct Pages(pub(crate) FaultyOrigin);

impl<S: Socket> Handler<S> for Pages {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let counts = || self.0.tally().counts();
        const TEXT: &str = "text/plain; charset=utf-8";
        let is_read = matches!(*exchange.request().method(), Method::GET | Method::HEAD);
        let (status, content_type, body) = match exchange.request().path_and_query() {
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n".to_vec()),
            "/" => (StatusCode::OK, TEXT, INDEX.as_bytes().to_vec()),
            "/tally" => (StatusCode::OK, TEXT, format!("{}\n", counts()).into_bytes()),
            "/tally.json" => (StatusCode::OK, "application/json", counts().to_json()),
            _ => (StatusCode::NOT_FOUND, TEXT, b"there is nothing here; / says what there is\n".to_vec()),
        };
        let mut head = ResponseHead::new(status);
        let fields = head.fields_mut();
        for (name, value) in [(Known::ContentType, content_type), (Known::CacheControl, "no-store")] {
            fields.push(name, value.as_bytes()).map_err(|_| HandlerError::Failed("tally-field"))?;
        }
        exchange.respond(&mut head, &body).await
    }
}
