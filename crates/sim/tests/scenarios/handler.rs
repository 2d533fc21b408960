//! The handler of the server's scenarios: answers as the scripted origin would, and looks at what it is asked.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::StatusCode;
use sheave_net::socket::Socket;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Frame};
use sheave_server::handler::Handler;
use sheave_sim::net::SimNet;

use crate::catalogue::{self, Content, Failure, Scenario, pattern};
use crate::origin::PAUSE;

/// What a handler says that panics because its scenario says so.
pub(crate) const SCRIPTED_PANIC: &str = "as the scenario says";

/// Answers as its scenario says.
pub(crate) struct Scripted {
    pub(crate) net: SimNet,
    pub(crate) scenario: Arc<Scenario>,
}

impl<S: Socket> Handler<S> for Scripted {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let target = exchange.request().target().to_owned();
        let place = target.strip_prefix('/').and_then(|place| place.parse::<usize>().ok());
        let Some((place, script)) = place.and_then(|place| Some((place, self.scenario.exchanges.get(place)?))) else {
            self.net.broken(format!("the handler was asked for {target}"));
            return Err(HandlerError::Failed("unknown-target"));
        };
        if !script.is_early {
            self.read_request(exchange, place, script).await?;
        }
        if let Some(status) = script.interim {
            let mut head = ResponseHead::new(status_of(status));
            exchange.send_head(&mut head, BodyLength::None)?;
            exchange.flush().await?;
        }
        let mut head = ResponseHead::new(status_of(script.status));
        let _ = head.fields_mut().push_named("X", place.to_string().as_bytes());
        let content = pattern(place, false, script.response.len());
        match script.failure {
            Failure::None => {}
            Failure::Early => return Err(HandlerError::Failed("scripted")),
            Failure::Forgets => return Ok(()),
            Failure::Late | Failure::Panic => {
                let length = match script.response {
                    Content::Length(len) => BodyLength::Known(len as u64),
                    Content::Chunked(..) => BodyLength::Chunked,
                    _ => BodyLength::UntilClose,
                };
                exchange.send_head(&mut head, length)?;
                exchange.send(&content[..content.len() / 2], false).await?;
                assert!(script.failure == Failure::Late, "{SCRIPTED_PANIC}");
                return Err(HandlerError::Failed("scripted"));
            }
        }
        match script.response {
            Content::None => exchange.respond(&mut head, b"").await,
            Content::Declared(len) => exchange.respond(&mut head, &pattern(place, false, len)).await,
            Content::Length(_) if !script.is_streamed => exchange.respond(&mut head, &content).await,
            Content::Length(_) | Content::UntilClose(_) => {
                let length = match script.response {
                    Content::Length(len) => BodyLength::Known(len as u64),
                    _ => BodyLength::UntilClose,
                };
                exchange.send_head(&mut head, length)?;
                exchange.send(&content[..content.len() - 3], false).await?;
                pause(script).await;
                exchange.send(&content[content.len() - 3..], true).await
            }
            Content::Chunked(sizes, has_trailers) => {
                exchange.send_head(&mut head, BodyLength::Chunked)?;
                let mut rest = &content[..];
                for size in sizes {
                    let (piece, behind) = rest.split_at(*size);
                    exchange.send(piece, false).await?;
                    pause(script).await;
                    rest = behind;
                }
                let mut trailers = Fields::new();
                let _ = trailers.push_named("T", catalogue::trailer(place, false).as_bytes());
                let trailers = (has_trailers && !script.is_old).then_some(trailers);
                finish(exchange, trailers.as_ref()).await
            }
        }
    }
}

impl Scripted {
    async fn read_request<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        place: usize,
        script: &catalogue::Exchange,
    ) -> Result<(), HandlerError> {
        let mut content = Vec::new();
        let mut trailers = None;
        while let Some(frame) = exchange.next().await? {
            match frame {
                Frame::Data(data) => content.extend_from_slice(&data),
                Frame::Trailers(fields) => trailers = fields.get_named("T").map(<[u8]>::to_vec),
            }
        }
        let expected = script.request.has_trailers().then(|| catalogue::trailer(place, true).into_bytes());
        if content != pattern(place, true, script.request.len()) || trailers != expected {
            let seen = content.escape_ascii().to_string();
            self.net.broken(format!("the handler was shown {seen:?} and {trailers:?} as the whole of request {place}"));
        }
        Ok(())
    }
}

async fn pause(script: &catalogue::Exchange) {
    if script.is_streamed {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn finish<S: Socket>(exchange: &mut Exchange<'_, S>, trailers: Option<&Fields>) -> Result<(), HandlerError> {
    poll_fn(|cx| {
        let now = exchange.clock().now();
        Poll::Ready(exchange.send_body(cx, now, &[], true, trailers))
    })
    .await?;
    exchange.flush().await
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status of the catalogue")
}
