//! A reverse proxy on hyper and hyper-util, as one writes it in an hour: one thread, connections to the origin kept.
//!
//! `bench-proxy-hyper LISTEN ORIGIN [TLS-LISTEN CERTIFICATE KEY]`; HTTP/1, and HTTP/2 by prior knowledge or ALPN.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type ToOrigin = Client<HttpConnector, Incoming>;

async fn forward(
    client: ToOrigin,
    origin: Arc<str>,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(uri) = Uri::builder().scheme("http").authority(&*origin).path_and_query(path).build() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().remove(CONNECTION);
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(&origin)
    {
        request.headers_mut().insert(HOST, host);
    }
    let mut response = client.request(request).await?;
    response.headers_mut().remove(CONNECTION);
    Ok(response)
}

async fn serve<S>(stream: S, client: ToOrigin, origin: Arc<str>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| forward(client.clone(), origin.clone(), request));
    // A peer that goes away is no business of a benchmark.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, origin, tls) = match arguments.as_slice() {
        [listen, origin] => (listen, origin, None),
        [listen, origin, tls, certificate, key] => (listen, origin, Some((tls, acceptor(certificate, key)?))),
        _ => return Err("usage: bench-proxy-hyper LISTEN ORIGIN [TLS-LISTEN CERTIFICATE KEY]".into()),
    };
    let origin: Arc<str> = origin.as_str().into();
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: ToOrigin = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(600))
            .pool_max_idle_per_host(8192)
            .build(connector);
        if let Some((address, acceptor)) = tls {
            let listener = listener(address.parse()?)?;
            let (client, origin) = (client.clone(), origin.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let (acceptor, client, origin) = (acceptor.clone(), client.clone(), origin.clone());
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, client, origin).await;
                        }
                    });
                }
            });
        }
        let listener = listener(listen.parse()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, client.clone(), origin.clone()));
        }
    })
}
