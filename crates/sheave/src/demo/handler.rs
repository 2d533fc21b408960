//! Answers what the demo origin is asked for. Holds no body in memory, however large.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Frame};
use sheave_server::handler::Handler;

use super::pattern;
use super::route::{NoRoute, Route};
use crate::json::{self, Object};

/// The page at `/`.
const INDEX: &str = "\
This is sheave's demo origin. It has

  /echo          your content back; without content, your request as JSON
  /headers       your request's fields, one a line
  /bytes/N       N bytes (64k, 10m, 1g), announced by Content-Length; byte i is 32 + i % 95
  /chunked/N     the same bytes in chunks
  /slow/MS       an answer after so many milliseconds
  /drip/N        N lines, one every 100 ms
  /status/CODE   an answer with that status, from 200 to 599
  /sha256        the SHA-256 of your content, as sha256sum has it
  /close         an answer, after which the connection is closed without a word of warning

Any method will do. Try

  curl -d hello HOST/echo
  curl -T FILE HOST/sha256
  curl HOST/bytes/1g -o /dev/null
";

/// Between two lines that drip.
const DRIP_EVERY: Duration = Duration::from_millis(100);

/// The demo origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demo;

impl<S: Socket> Handler<S> for Demo {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let path = exchange.request().path_and_query();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        match Route::of(path) {
            Ok(Route::Index) => text(exchange, StatusCode::OK, INDEX).await,
            Ok(Route::Echo) if exchange.has_whole_request() => {
                let body = request_as_json(exchange.request(), exchange.peer());
                whole(exchange, StatusCode::OK, b"application/json", &body).await
            }
            Ok(Route::Echo) => echo(exchange).await,
            Ok(Route::Headers) => {
                let fields = fields_as_text(exchange.request());
                whole(exchange, StatusCode::OK, TEXT, &fields).await
            }
            Ok(Route::Bytes(len)) => pour(exchange, len, BodyLength::Known(len)).await,
            Ok(Route::Chunked(len)) => pour(exchange, len, BodyLength::Chunked).await,
            Ok(Route::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                text(exchange, StatusCode::OK, &format!("waited {} ms\n", delay.as_millis())).await
            }
            Ok(Route::Drip(lines)) => drip(exchange, lines).await,
            Ok(Route::Status(code)) => status(exchange, code).await,
            Ok(Route::Sha256) => sha256(exchange).await,
            Ok(Route::Close) => {
                text(exchange, StatusCode::OK, "closing\n").await?;
                exchange.truncate(sheave_lifecycle::close::CloseReason::Agreed);
                Ok(())
            }
            Err(NoRoute::Wrong(what)) => text(exchange, StatusCode::BAD_REQUEST, &format!("{what}\n")).await,
            Err(NoRoute::Unknown) => {
                text(exchange, StatusCode::NOT_FOUND, "there is nothing here; / says what there is\n").await
            }
        }
    }
}

const TEXT: &[u8] = b"text/plain; charset=utf-8";

/// A head with a `Content-Type`.
fn head(status: StatusCode, content_type: &[u8]) -> Result<ResponseHead, HandlerError> {
    let mut head = ResponseHead::new(status);
    // The type may be the client's own: what came in a field can go out in one.
    head.fields_mut().push(Known::ContentType, content_type).map_err(|_| HandlerError::Failed("content-type"))?;
    Ok(head)
}

async fn whole<S: Socket>(
    exchange: &mut Exchange<'_, S>,
    status: StatusCode,
    content_type: &[u8],
    body: &[u8],
) -> Result<(), HandlerError> {
    exchange.respond(&mut head(status, content_type)?, body).await
}

async fn text<S: Socket>(exchange: &mut Exchange<'_, S>, status: StatusCode, body: &str) -> Result<(), HandlerError> {
    whole(exchange, status, TEXT, body.as_bytes()).await
}

async fn echo<S: Socket>(exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
    let fields = exchange.request().fields();
    let content_type = fields.get(Known::ContentType).unwrap_or(b"application/octet-stream");
    let length = fields.get_str(Known::ContentLength).and_then(|length| length.parse().ok());
    let mut head = head(StatusCode::OK, content_type)?;
    // The first piece is taken before the head goes out, as that asks a waiting client for its content with a 100.
    let mut next = exchange.next().await?;
    exchange.send_head(&mut head, length.map_or(BodyLength::Chunked, BodyLength::Known))?;
    while let Some(frame) = next {
        if let Frame::Data(data) = frame {
            exchange.send(&data, false).await?;
        }
        next = exchange.next().await?;
    }
    exchange.send(&[], true).await
}

async fn pour<S: Socket>(exchange: &mut Exchange<'_, S>, len: u64, framing: BodyLength) -> Result<(), HandlerError> {
    exchange.send_head(&mut head(StatusCode::OK, TEXT)?, framing)?;
    if exchange.request().method() == Method::HEAD {
        return exchange.flush().await;
    }
    let mut sent = 0;
    while sent < len {
        let piece = pattern::bytes(sent, len - sent);
        sent += piece.len() as u64;
        exchange.send(piece, sent == len).await?;
    }
    if len == 0 { exchange.send(&[], true).await } else { Ok(()) }
}

async fn drip<S: Socket>(exchange: &mut Exchange<'_, S>, lines: u64) -> Result<(), HandlerError> {
    exchange.send_head(&mut head(StatusCode::OK, TEXT)?, BodyLength::Chunked)?;
    exchange.flush().await?;
    for number in 1..=lines {
        if exchange.has_answered() {
            return Ok(());
        }
        exchange.send(format!("{number} of {lines}\n").as_bytes(), false).await?;
        if number < lines {
            tokio::time::sleep(DRIP_EVERY).await;
        }
    }
    exchange.send(&[], true).await
}

async fn status<S: Socket>(exchange: &mut Exchange<'_, S>, code: u16) -> Result<(), HandlerError> {
    let status = StatusCode::from_u16(code).map_err(|_| HandlerError::Failed("status"))?;
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        exchange.send_head(&mut ResponseHead::new(status), BodyLength::None)?;
        return exchange.flush().await;
    }
    let reason = status.canonical_reason().unwrap_or_default();
    text(exchange, status, &format!("{code} {reason}\n")).await
}

async fn sha256<S: Socket>(exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
    let mut digest = Sha256::new();
    while let Some(frame) = exchange.next().await? {
        if let Frame::Data(data) = frame {
            digest.update(&data);
        }
    }
    let mut body = String::with_capacity(65);
    for byte in digest.finalize() {
        // A String takes whatever is written to it.
        let _ = write!(body, "{byte:02x}");
    }
    body.push('\n');
    text(exchange, StatusCode::OK, &body).await
}

/// The request as JSON, its fields in order and spelt as they came.
fn request_as_json(request: &RequestHead, peer: Option<std::net::SocketAddr>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    object
        .text("method", request.method().as_str())
        .text("target", request.target())
        .shown("version", request.version());
    if let Some(peer) = peer {
        object.shown("client", peer);
    }
    let fields = object.key("headers");
    fields.push(b'[');
    for (index, field) in request.fields().iter().enumerate() {
        if index > 0 {
            fields.push(b',');
        }
        fields.push(b'[');
        json::string(fields, field.name());
        fields.push(b',');
        json::string(fields, &String::from_utf8_lossy(field.value()));
        fields.push(b']');
    }
    fields.push(b']');
    object.end();
    out.push(b'\n');
    out
}

fn fields_as_text(request: &RequestHead) -> Vec<u8> {
    let mut out = Vec::new();
    for field in request.fields().iter() {
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value());
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_request_as_it_came() {
        let mut request = RequestHead::new(Method::GET, "/echo?a=\"b\"").expect("a target");
        request.fields_mut().push_named("X-Odd", b"a\"b\xff").expect("a field");
        request.fields_mut().push_named("x-odd", b"2").expect("a field");
        let json = String::from_utf8(request_as_json(&request, None)).expect("UTF-8");
        assert_eq!(
            json,
            "{\"method\":\"GET\",\"target\":\"/echo?a=\\\"b\\\"\",\"version\":\"HTTP/1.1\",\
             \"headers\":[[\"X-Odd\",\"a\\\"b\u{fffd}\"],[\"x-odd\",\"2\"]]}\n"
        );
        assert_eq!(fields_as_text(&request), b"X-Odd: a\"b\xff\nx-odd: 2\n");
    }

    #[test]
    fn the_page_names_every_route() {
        for name in ["echo", "headers", "bytes", "chunked", "slow", "drip", "status", "sha256", "close"] {
            assert!(INDEX.contains(&format!("\n  /{name}")), "{name}");
        }
    }
}
