//! One request and its response on a connection, with or without TLS, and a client that believes any certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A stream of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to the proxy.
pub async fn connect(proxy: SocketAddr, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect(proxy).await?;
    tcp.set_nodelay(true)?;
    match tls {
        None => Ok(Box::new(tcp)),
        Some(tls) => {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            Ok(Box::new(tls.connect(name, tcp).await?))
        }
    }
}

/// One GET, and the whole of its response of 1 KiB.
pub async fn get(stream: &mut (impl Stream + ?Sized), target: &str) -> io::Result<()> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = [0; 2048];
    let mut len = 0;
    let whole = loop {
        let more = stream.read(&mut buffer[len..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += more;
        if let Some(head) = buffer[..len].windows(4).position(|four| four == b"\r\n\r\n") {
            break head + 4 + 1024;
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other("an answer that is no 200"));
    }
    while len < whole {
        let more = stream.read(&mut buffer[len..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += more;
    }
    Ok(())
}

/// TLS 1.3 or 1.2, HTTP/1.1, any certificate; sessions are resumed where they may be.
///
/// Keys are agreed on by X25519, which all know: with whom knows it, X25519MLKEM768 would be preferred, and be other work. The
/// certificate's curve has to be named, too.
pub fn tls(is_resumed: bool) -> io::Result<TlsConnector> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let provider = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let verifier = Arc::new(Credulous(provider));
    let mut config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = if is_resumed { Resumption::in_memory_sessions(256) } else { Resumption::disabled() };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Checks no certificate, as wrk and h2load do not: its cost is the load's, and its answer is known.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
