//! A handler that does what its request's target says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use sheave_net::socket::Socket;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Frame};
use sheave_server::handler::Handler;

/// Does what its request's target says, and counts how many do at the moment.
#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<AtomicU32>);

impl Scripted {
    /// Handlers that are under way.
    pub(crate) fn running(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Running<'r>(&'r AtomicU32);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn head(status: u16) -> ResponseHead {
    ResponseHead::new(StatusCode::from_u16(status).unwrap())
}

impl<S: Socket> Handler<S> for Scripted {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _running = Running(&self.0);
        let target = exchange.request().path_and_query().to_owned();
        match target.as_str() {
            "/hello" => exchange.respond(&mut head(200), b"hello").await,
            "/who" => {
                let text = format!(
                    "{} {} {} {}",
                    exchange.request().method(),
                    exchange.request().fields().get_str(Known::Host).unwrap_or("-"),
                    exchange.peer_version(),
                    exchange.number()
                );
                exchange.respond(&mut head(200), text.as_bytes()).await
            }
            "/echo" => {
                let (mut body, mut trailers) = (Vec::new(), String::new());
                while let Some(frame) = exchange.next().await? {
                    match frame {
                        Frame::Data(data) => body.extend_from_slice(&data),
                        Frame::Trailers(fields) => {
                            fields.iter().for_each(|field| trailers.push_str(&format!("[{}]", field.name())));
                        }
                    }
                }
                body.extend_from_slice(trailers.as_bytes());
                exchange.respond(&mut head(200), &body).await
            }
            "/both" => {
                exchange.send_head(&mut head(200), BodyLength::Chunked)?;
                exchange.flush().await?;
                while let Some(Frame::Data(data)) = exchange.next().await? {
                    exchange.send(&data, false).await?;
                }
                exchange.send(b"", true).await
            }
            "/hints" => {
                exchange.send_head(&mut head(103), BodyLength::None)?;
                exchange.flush().await?;
                exchange.respond(&mut head(200), b"hello").await
            }
            "/trailers" => {
                exchange.send_head(&mut head(200), BodyLength::Chunked)?;
                let mut trailers = Fields::new();
                trailers.push_named("grpc-status", b"0").unwrap();
                let sent = std::future::poll_fn(|cx| {
                    let now = exchange.clock().now();
                    std::task::Poll::Ready(exchange.send_body(cx, now, &[b"content"], true, Some(&trailers)))
                });
                sent.await?;
                exchange.flush().await
            }
            "/204" => exchange.respond(&mut head(204), b"never seen").await,
            "/304" => exchange.respond(&mut head(304), b"never seen").await,
            "/empty" => exchange.respond(&mut head(200), b"").await,
            "/early" => exchange.respond(&mut head(200), b"enough").await,
            "/panics" => panic!("a handler's panic, on purpose"),
            "/fails" => Err(HandlerError::Failed("my-reason")),
            "/half" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", false).await
            }
            "/half-waits" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", false).await?;
                std::future::pending().await
            }
            "/half-panics" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", false).await?;
                panic!("a handler's panic amid its response, on purpose")
            }
            "/never" => std::future::pending().await,
            target if target.starts_with("/after/") => {
                let millis = target["/after/".len()..].parse().unwrap();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                exchange.respond(&mut head(200), b"hello").await
            }
            target if target.starts_with("/bytes/") => {
                let len = target["/bytes/".len()..].parse().unwrap();
                exchange.respond(&mut head(200), &vec![b'x'; len]).await
            }
            _ => exchange.respond(&mut head(404), b"").await,
        }
    }
}
