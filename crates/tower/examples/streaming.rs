//! Uploads and downloads that never lie in memory as a whole.
//!
//! `curl -T large-file http://127.0.0.1:3000/upload` counts what comes; `curl http://127.0.0.1:3000/download/1000000000`
//! makes as much; `curl -T large-file http://127.0.0.1:3000/echo` does both at once.

use std::convert::Infallible;
use std::error::Error;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, put};
use futures_util::{StreamExt, stream};

/// Bytes of one piece of a download.
const PIECE_BYTES: usize = 64 * 1024;

/// Counts an upload, piece by piece. The client is asked for the next when the last has been dealt with.
async fn upload(body: Body) -> Result<String, (StatusCode, String)> {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        // A client that gives up ends the body with an error: what came of it must not be taken for all.
        bytes += piece.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?.len();
    }
    Ok(format!("{bytes} bytes\n"))
}

/// Makes a download, piece by piece. The next is made when the client has taken the last.
async fn download(Path(len): Path<u64>) -> Body {
    static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
    Body::from_stream(stream::unfold(len, async |left| {
        let piece = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let bytes = Bytes::from_static(&ZEROS[..piece]);
        (piece > 0).then_some((Ok::<_, Infallible>(bytes), left - piece as u64))
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/upload", put(upload))
        .route("/download/{len}", get(download))
        .route("/echo", put(async |body: Body| body));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    sheave_tower::serve(listener, app).with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await }).await?;
    Ok(())
}
