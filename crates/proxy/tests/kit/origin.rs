//! A scripted origin: it records exactly what it gets, and sends exactly what it is told.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::message::Message;
use super::wire::{Cut, Wire};

/// A scripted origin. Its script runs once for each connection.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// How many bytes were read on each connection, in the order in which they were accepted.
    bytes: Mutex<Vec<usize>>,
    /// Whole requests, each with its connection's number.
    requests: Mutex<Vec<(usize, Message)>>,
    /// Requests that were cut off.
    cut: Mutex<Vec<Cut>>,
    changed: Notify,
    has_panicked: AtomicBool,
}

/// A connection that the origin accepted.
pub struct Accepted {
    pub wire: Wire,
    /// Its number, from 0.
    pub number: usize,
    shared: Arc<Shared>,
}

impl Accepted {
    /// The next request; `None` when the connection ends. It is recorded.
    pub async fn request(&mut self) -> Option<Message> {
        match self.wire.try_request().await {
            Ok(message) => {
                self.shared.requests.lock().unwrap().push((self.number, message.clone()));
                self.shared.changed.notify_waiters();
                Some(message)
            }
            Err(cut) => {
                if cut.head.is_some() || !cut.body.is_empty() {
                    self.shared.cut.lock().unwrap().push(cut);
                    self.shared.changed.notify_waiters();
                }
                None
            }
        }
    }

    /// The next request, which must come.
    pub async fn must_request(&mut self) -> Message {
        self.request().await.expect("a request comes")
    }

    /// Sends `bytes`.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).await;
    }

    /// Waits for the other side's end, and drops all that comes before it.
    pub async fn drain(&mut self) {
        while self.wire.take().await.is_ok() {}
    }
}

/// A response with that body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Origin {
    /// An origin that answers each request with 200 and `ok`.
    pub async fn friendly() -> Self {
        Self::start(async |mut connection| {
            while connection.request().await.is_some() {
                if !connection.wire.try_send(ok("ok")).await {
                    return;
                }
            }
        })
        .await
    }

    /// An origin that answers the first request of each connection with `response`, and closes when the proxy does.
    pub async fn saying(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut connection| {
            let response = response.clone();
            async move {
                if connection.request().await.is_some() && connection.wire.try_send(response).await {
                    connection.drain().await;
                }
            }
        })
        .await
    }

    /// An origin that runs `script` for each connection.
    pub async fn start<F, W>(script: F) -> Self
    where
        F: Fn(Accepted) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::from_listener(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), script)
    }

    /// An origin whose connections have receive and send buffers of about so many bytes.
    pub async fn start_small<F, W>(buffer_bytes: usize, script: F) -> Self
    where
        F: Fn(Accepted) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(buffer_bytes).unwrap();
        socket.set_send_buffer_size(buffer_bytes).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(64).unwrap();
        Self::from_listener(TcpListener::from_std(socket.into()).unwrap(), script)
    }

    /// An origin behind `listener`.
    pub fn from_listener<F, W>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(Accepted) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let shared_too = shared.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut wire = Wire::new(stream);
                let number = {
                    let mut bytes = shared_too.bytes.lock().unwrap();
                    bytes.push(0);
                    bytes.len() - 1
                };
                let watching = shared_too.clone();
                wire.reader.watch = Some(Box::new(move |bytes| {
                    watching.bytes.lock().unwrap()[number] += bytes.len();
                    watching.changed.notify_waiters();
                }));
                shared_too.changed.notify_waiters();
                let work = script(Accepted { wire, number, shared: shared_too.clone() });
                let alarm = Alarm(shared_too.clone());
                tokio::spawn(async move {
                    let _alarm = alarm;
                    work.await;
                });
            }
        });
        Self { address, shared, accepting }
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> usize {
        self.shared.bytes.lock().unwrap().len()
    }

    /// Bytes that were read on the connection of that number.
    pub fn received(&self, connection: usize) -> usize {
        self.shared.bytes.lock().unwrap()[connection]
    }

    /// Bytes that were read, on all connections together.
    pub fn received_in_all(&self) -> usize {
        self.shared.bytes.lock().unwrap().iter().sum()
    }

    /// The whole requests that came since the last call, each with its connection's number.
    pub fn requests(&self) -> Vec<(usize, Message)> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// How many whole requests are here that nobody took.
    pub fn requests_seen(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// The requests that were cut off.
    pub fn cut(&self) -> Vec<Cut> {
        self.shared.cut.lock().unwrap().clone()
    }

    /// Waits until `find` finds what it is looking for.
    pub async fn until<T>(&self, find: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            if let Some(found) = find(self) {
                return found;
            }
            changed.await;
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
        let has_panicked = self.shared.has_panicked.load(Ordering::SeqCst);
        assert!(!has_panicked || std::thread::panicking(), "the origin's script panicked");
    }
}

/// Notes that a script panicked: a panic in a task is otherwise lost.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_panicked.store(true, Ordering::SeqCst);
        }
    }
}
