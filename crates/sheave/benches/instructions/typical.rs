//! Messages as they are most often seen.

/// What a browser asks for.
pub(crate) const REQUEST: &[u8] = b"GET /articles/2026/11/how-a-sheave-turns?page=2 HTTP/1.1\r\n\
    Host: www.example.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.test/articles/2026/11/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\r\n";

/// What an application answers.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: application\r\n\
    Date: Fri, 20 Nov 2026 07:13:02 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 10240\r\n\
    Connection: keep-alive\r\n\
    Vary: Accept-Encoding, Cookie\r\n\
    Cache-Control: private, max-age=0, must-revalidate\r\n\
    ETag: \"5f1c-61e2f3a4b5c6d\"\r\n\
    Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
    X-Content-Type-Options: nosniff\r\n\r\n";

/// A body of so many bytes whose end is seen nowhere else.
pub(crate) fn body(len: usize) -> Vec<u8> {
    let mut body = vec![b'x'; len];
    body[len - END.len()..].copy_from_slice(END);
    body
}

/// How a body ends.
pub(crate) const END: &[u8] = b"end.";

/// `body` in chunks of 8 KiB, as applications write.
pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in body.chunks(8 << 10) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// A response with a body of known length.
pub(crate) fn response(len: usize) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Fri, 20 Nov 2026 07:13:02 GMT\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {len}\r\n\r\n"
    )
    .into_bytes();
    response.extend_from_slice(&body(len));
    response
}
