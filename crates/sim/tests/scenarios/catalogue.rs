//! The scenarios: what clients ask, what origins answer, and how the bytes of each look.

use std::sync::Arc;

/// A message's content and its framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// None, and nothing is said of any.
    None,
    /// None, but its length is said: an answer to HEAD.
    Declared(usize),
    Length(usize),
    /// In chunks of so many bytes; with trailers or without.
    Chunked(&'static [usize], bool),
    /// Ends with the connection; of responses only.
    UntilClose(usize),
}

impl Content {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::None | Self::Declared(_) => 0,
            Self::Length(len) | Self::UntilClose(len) => len,
            Self::Chunked(sizes, _) => sizes.iter().sum(),
        }
    }

    pub(crate) fn has_trailers(self) -> bool {
        matches!(self, Self::Chunked(_, true))
    }
}

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: &'static str,
    /// The client speaks HTTP/1.0.
    pub(crate) is_old: bool,
    /// The client says `Connection: keep-alive`.
    pub(crate) asks_to_keep: bool,
    /// The client waits for a 100 before it sends its content.
    pub(crate) expects_continue: bool,
    /// The client sends its content in pieces of so many bytes, with pauses between them. Zero: with the head.
    pub(crate) upload_step: usize,
    pub(crate) request: Content,
    /// A response that comes before the final one.
    pub(crate) interim: Option<u16>,
    /// The response comes before the request is whole.
    pub(crate) is_early: bool,
    pub(crate) status: u16,
    pub(crate) response: Content,
    /// The origin speaks HTTP/1.0.
    pub(crate) has_old_origin: bool,
    /// The origin says `Connection: close`, and closes.
    pub(crate) origin_closes: bool,
}

const GET: Exchange = Exchange {
    method: "GET",
    is_old: false,
    asks_to_keep: false,
    expects_continue: false,
    upload_step: 0,
    request: Content::None,
    interim: None,
    is_early: false,
    status: 200,
    response: Content::Length(5),
    has_old_origin: false,
    origin_closes: false,
};

const POST: Exchange = Exchange { method: "POST", request: Content::Length(6), response: Content::Length(3), ..GET };

/// What one client does on one connection.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) exchanges: &'static [Exchange],
    /// All requests leave in one write.
    pub(crate) is_pipelined: bool,
}

/// All scenarios; each runs in every world that knows its kind of message.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "get", exchanges: &[GET, GET], is_pipelined: false },
    Scenario { name: "post", exchanges: &[POST, GET], is_pipelined: false },
    Scenario {
        name: "chunked",
        exchanges: &[
            Exchange {
                method: "PUT",
                request: Content::Chunked(&[4, 1], true),
                response: Content::Chunked(&[3, 2], true),
                ..GET
            },
            GET,
        ],
        is_pipelined: false,
    },
    Scenario { name: "continue", exchanges: &[Exchange { expects_continue: true, ..POST }, POST], is_pipelined: false },
    Scenario { name: "pipelined", exchanges: &[GET, POST, GET], is_pipelined: true },
    Scenario {
        name: "early",
        exchanges: &[Exchange {
            request: Content::Length(12),
            upload_step: 4,
            is_early: true,
            status: 413,
            origin_closes: true,
            ..POST
        }],
        is_pipelined: false,
    },
    Scenario {
        name: "early-keep",
        exchanges: &[
            Exchange { request: Content::Chunked(&[4, 4], false), upload_step: 9, is_early: true, status: 403, ..POST },
            GET,
        ],
        is_pipelined: false,
    },
    Scenario {
        name: "until-close",
        exchanges: &[GET, Exchange { response: Content::UntilClose(6), origin_closes: true, ..GET }],
        is_pipelined: false,
    },
    Scenario {
        name: "bodiless",
        exchanges: &[
            Exchange { method: "HEAD", response: Content::Declared(5), ..GET },
            Exchange { status: 204, response: Content::None, ..GET },
            Exchange { status: 304, response: Content::None, ..GET },
        ],
        is_pipelined: false,
    },
    Scenario {
        name: "http10",
        exchanges: &[Exchange { is_old: true, has_old_origin: true, origin_closes: true, ..POST }],
        is_pipelined: false,
    },
    Scenario {
        name: "http10-keep",
        exchanges: &[
            Exchange { is_old: true, asks_to_keep: true, ..GET },
            Exchange { is_old: true, asks_to_keep: true, ..POST },
        ],
        is_pipelined: false,
    },
    Scenario {
        name: "http10-stream",
        exchanges: &[Exchange { is_old: true, response: Content::Chunked(&[4, 3], true), ..GET }],
        is_pipelined: false,
    },
    Scenario { name: "hints", exchanges: &[Exchange { interim: Some(103), ..GET }, GET], is_pipelined: false },
];

/// The scenario of that name.
pub(crate) fn scenario(name: &str) -> Arc<Scenario> {
    let found = ALL.iter().find(|scenario| scenario.name == name).expect("a scenario of that name");
    Arc::new(Scenario { ..*found })
}

/// Content that says whose it is: of which exchange, whether of its request or response, and where in it a byte stands.
pub(crate) fn pattern(exchange: usize, is_request: bool, len: usize) -> Vec<u8> {
    let first = if is_request { b'A' } else { b'a' };
    let letter = first + u8::try_from(exchange).expect("a scenario has few exchanges");
    let digit = |at: usize| b'0' + u8::try_from(at / 2 % 10).expect("a digit");
    (0..len).map(|at| if at % 2 == 0 { letter } else { digit(at) }).collect()
}

/// The value of the trailer field `T` of that message.
pub(crate) fn trailer(exchange: usize, is_request: bool) -> String {
    String::from_utf8(pattern(exchange, is_request, 1)).expect("a letter")
}

/// The head of a scripted client's request.
pub(crate) fn request_head(place: usize, exchange: &Exchange) -> Vec<u8> {
    let version = if exchange.is_old { "1.0" } else { "1.1" };
    let mut head = format!("{} /{place} HTTP/{version}\r\nHost: o\r\n", exchange.method);
    if exchange.asks_to_keep {
        head.push_str("Connection: keep-alive\r\n");
    }
    if exchange.expects_continue {
        head.push_str("Expect: 100-continue\r\n");
    }
    finish_head(head, exchange.request)
}

/// The content of a scripted client's request, on the wire.
pub(crate) fn request_content(place: usize, exchange: &Exchange) -> Vec<u8> {
    content(place, true, exchange.request)
}

/// A scripted origin's final response.
pub(crate) fn response(place: usize, exchange: &Exchange) -> Vec<u8> {
    let version = if exchange.has_old_origin { "1.0" } else { "1.1" };
    let mut head = format!("HTTP/{version} {} S\r\nX: {place}\r\n", exchange.status);
    if exchange.origin_closes && !exchange.has_old_origin {
        head.push_str("Connection: close\r\n");
    }
    let mut bytes = finish_head(head, exchange.response);
    bytes.extend(content(place, false, exchange.response));
    bytes
}

/// A scripted origin's interim response.
pub(crate) fn interim(status: u16) -> Vec<u8> {
    let fields = if status == 103 { "Link: l\r\n" } else { "" };
    format!("HTTP/1.1 {status} I\r\n{fields}\r\n").into_bytes()
}

fn finish_head(mut head: String, content: Content) -> Vec<u8> {
    match content {
        Content::None | Content::UntilClose(_) => {}
        Content::Length(len) | Content::Declared(len) => head.push_str(&format!("Content-Length: {len}\r\n")),
        Content::Chunked(..) => head.push_str("Transfer-Encoding: chunked\r\n"),
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn content(place: usize, is_request: bool, content: Content) -> Vec<u8> {
    let bytes = pattern(place, is_request, content.len());
    let Content::Chunked(sizes, has_trailers) = content else { return bytes };
    let mut wire = Vec::new();
    let mut rest = &bytes[..];
    for size in sizes {
        let (chunk, behind) = rest.split_at(*size);
        wire.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = behind;
    }
    wire.extend_from_slice(b"0\r\n");
    if has_trailers {
        wire.extend_from_slice(format!("T: {}\r\n", trailer(place, is_request)).as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire
}
