//! A server on actix-web that says hello: one worker, and the thread that accepts. `bench-hello-actix LISTEN`.

use std::error::Error;
use std::net::SocketAddr;

use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("Hello, world!")
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).ok_or("usage: bench-hello-actix LISTEN")?.parse()?;
    System::new().block_on(async {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(hello))).workers(1).backlog(4096);
        server.bind(listen)?.run().await?;
        Ok(())
    })
}
