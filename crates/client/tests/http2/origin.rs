//! An origin that speaks HTTP/2 well, because others made it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use sheave_sim::net::SimNet;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What the origin has seen and does.
#[derive(Default)]
pub struct State {
    pub connections: AtomicUsize,
    pub requests: AtomicUsize,
    pub resets: Mutex<Vec<Reason>>,
    /// Requests that are held back until this is told, one for each.
    pub gate: Notify,
}

/// An origin. Dropped, it ends.
pub struct Origin {
    pub state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    /// Answers as `path` asks, with so many streams at a time.
    pub fn start(net: &SimNet, at: SocketAddr, max_streams: u32) -> Self {
        let state = Arc::new(State::default());
        let (mut listener, shared) = (net.listen(at), state.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let socket = listener.accept().await;
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let state = shared.clone();
                connections.spawn(async move {
                    let mut builder = Builder::new();
                    builder.max_concurrent_streams(max_streams);
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
                    let mut streams = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        state.requests.fetch_add(1, Ordering::Relaxed);
                        streams.spawn(answer(request, respond, state.clone()));
                    }
                });
            }
        });
        Self { state, accepting }
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }
}

/// Says what it was asked, after the gate if the method is not POST; a POST is answered with its own content.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, state: Arc<State>) {
    assert_eq!(request.uri().authority().map(|it| it.as_str()), Some("origin.example"));
    assert_eq!(request.uri().scheme_str(), Some("http"));
    assert_eq!(request.uri().path_and_query().map(|it| it.as_str()), Some("/path?query"));
    if request.method() == "GET" {
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
        tokio::select! {
            () = state.gate.notified() => {}
            reset = reset => return state.resets.lock().unwrap().push(reset.unwrap()),
        }
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        send.send_trailers(trailers).unwrap();
        return;
    }
    respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        if !pass_on(&mut send, data).await {
            return;
        }
    }
    let _ = send.send_data(Bytes::new(), true);
}

/// Sends as the other side's window allows.
async fn pass_on(send: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| match send.capacity() {
            0 => send.poll_capacity(cx).map(|room| room.and_then(Result::ok)),
            room => std::task::Poll::Ready(Some(room)),
        });
        let Some(room) = room.await else { return false };
        if room > 0 && send.send_data(data.split_to(room.min(data.len())), false).is_err() {
            return false;
        }
    }
    true
}
