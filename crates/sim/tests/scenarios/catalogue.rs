//! The scenarios: what clients ask, what origins answer, and how the bytes of each look.

use std::ops::Range;
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
    /// The response's content comes in two parts, with a pause between them.
    pub(crate) is_streamed: bool,
    /// The origin speaks HTTP/1.0.
    pub(crate) has_old_origin: bool,
    /// The origin says `Connection: close`, and closes.
    pub(crate) origin_closes: bool,
    /// The client thinks for so many milliseconds before it asks.
    pub(crate) think: u64,
    /// The client sends this, which is no request, instead of one.
    pub(crate) garbage: &'static str,
    /// What the origin does behind the response that it should not.
    pub(crate) bad_end: BadEnd,
    /// How the handler fails. Of servers only.
    pub(crate) failure: Failure,
    /// The status of our own that is the only possible answer.
    pub(crate) own_status: Option<u16>,
}

/// What an origin does behind a whole response on a connection that was to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadEnd {
    None,
    /// It sends another response along with it.
    Stray,
    /// Five milliseconds later it says 408, and closes, as some do with connections that idle.
    Timeout,
    /// Five milliseconds later it closes.
    Close,
}

/// How a handler fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    None,
    /// It gives up before it answers.
    Early,
    /// It gives up in the middle of the content.
    Late,
    /// It panics in the middle of the content.
    Panic,
    /// It believes to have answered.
    Forgets,
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
    is_streamed: false,
    has_old_origin: false,
    origin_closes: false,
    think: 0,
    garbage: "",
    bad_end: BadEnd::None,
    failure: Failure::None,
    own_status: None,
};

const POST: Exchange = Exchange { method: "POST", request: Content::Length(6), response: Content::Length(3), ..GET };

/// Which origins a relay knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origins {
    One,
    /// Two, of which the first has nobody listening.
    FirstDown,
    /// One, with nobody listening.
    Down,
    /// One that answers no handshake.
    Silent,
}

/// What one client does on one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) exchanges: &'static [Exchange],
    /// How many clients share them, each with a connection of its own, at the same time. A divisor of their number.
    pub(crate) clients: usize,
    /// Connections to the origin that may be.
    pub(crate) max_connections: usize,
    /// All requests leave in one write.
    pub(crate) is_pipelined: bool,
    pub(crate) origins: Origins,
    /// The only worlds in which it means something.
    pub(crate) worlds: &'static [&'static str],
    /// Too long for a fault at every byte.
    pub(crate) is_long: bool,
}

const ALL_WORLDS: &[&str] = &["server", "client", "relay"];
/// A client of ours speaks HTTP/1.1 whatever a scenario's client speaks, and asks one by one.
const WITH_CLIENT: &[&str] = &["server", "relay"];
const WITH_ORIGIN: &[&str] = &["client", "relay"];

const SCENARIO: Scenario = Scenario {
    name: "",
    exchanges: &[],
    clients: 1,
    max_connections: 100,
    is_pipelined: false,
    origins: Origins::One,
    worlds: ALL_WORLDS,
    is_long: false,
};

impl Scenario {
    /// Which exchanges are that client's.
    pub(crate) fn share(&self, client: usize) -> Range<usize> {
        let len = self.exchanges.len() / self.clients;
        client * len..(client + 1) * len
    }

    /// Whether an origin sends what nobody asked for. What comes after the next request was sent cannot be told from its
    /// answer: then only that the connection was clean when it was handed out can be asked for.
    pub(crate) fn has_stray(&self) -> bool {
        self.exchanges.iter().any(|exchange| matches!(exchange.bad_end, BadEnd::Stray | BadEnd::Timeout))
    }

    /// Whether an origin closes connections that were to be kept, so that it matters when a request comes.
    pub(crate) fn has_impatient_origin(&self) -> bool {
        self.exchanges.iter().any(|exchange| matches!(exchange.bad_end, BadEnd::Close | BadEnd::Timeout))
    }
}

/// All scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "get", exchanges: &[GET, GET], ..SCENARIO },
    Scenario { name: "post", exchanges: &[POST, GET], ..SCENARIO },
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
        ..SCENARIO
    },
    Scenario { name: "continue", exchanges: &[Exchange { expects_continue: true, ..POST }, POST], ..SCENARIO },
    Scenario { name: "pipelined", exchanges: &[GET, POST, GET], is_pipelined: true, worlds: WITH_CLIENT, ..SCENARIO },
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
        ..SCENARIO
    },
    Scenario {
        name: "early-keep",
        exchanges: &[
            Exchange { request: Content::Chunked(&[4, 4], false), upload_step: 9, is_early: true, status: 403, ..POST },
            GET,
        ],
        ..SCENARIO
    },
    Scenario {
        name: "early-until-close",
        exchanges: &[Exchange {
            request: Content::Length(12),
            upload_step: 4,
            is_early: true,
            status: 403,
            response: Content::UntilClose(6),
            is_streamed: true,
            origin_closes: true,
            ..POST
        }],
        ..SCENARIO
    },
    Scenario {
        name: "until-close",
        exchanges: &[GET, Exchange { response: Content::UntilClose(6), is_streamed: true, origin_closes: true, ..GET }],
        ..SCENARIO
    },
    Scenario {
        name: "bodiless",
        exchanges: &[
            Exchange { method: "HEAD", response: Content::Declared(5), ..GET },
            Exchange { status: 204, response: Content::None, ..GET },
            Exchange { status: 304, response: Content::None, ..GET },
        ],
        ..SCENARIO
    },
    Scenario {
        name: "http10",
        exchanges: &[Exchange { is_old: true, has_old_origin: true, origin_closes: true, ..POST }],
        ..SCENARIO
    },
    Scenario {
        name: "http10-keep",
        exchanges: &[
            Exchange { is_old: true, asks_to_keep: true, ..GET },
            Exchange { is_old: true, asks_to_keep: true, ..POST },
        ],
        worlds: WITH_CLIENT,
        ..SCENARIO
    },
    Scenario {
        name: "http10-stream",
        exchanges: &[Exchange { is_old: true, response: Content::Chunked(&[4, 3], true), is_streamed: true, ..GET }],
        worlds: WITH_CLIENT,
        ..SCENARIO
    },
    Scenario { name: "hints", exchanges: &[Exchange { interim: Some(103), ..GET }, GET], ..SCENARIO },
    Scenario {
        name: "http10-hints",
        exchanges: &[Exchange { interim: Some(103), is_old: true, asks_to_keep: true, ..GET }],
        worlds: WITH_CLIENT,
        ..SCENARIO
    },
    Scenario {
        name: "stream",
        exchanges: &[
            Exchange { response: Content::Chunked(&[3, 2], true), is_streamed: true, ..POST },
            Exchange { response: Content::Length(7), is_streamed: true, ..GET },
        ],
        ..SCENARIO
    },
    Scenario {
        name: "stray",
        exchanges: &[Exchange { bad_end: BadEnd::Stray, ..GET }, POST],
        worlds: WITH_ORIGIN,
        ..SCENARIO
    },
    Scenario {
        name: "timed-out",
        exchanges: &[Exchange { bad_end: BadEnd::Timeout, ..GET }, Exchange { think: 9, ..POST }],
        worlds: WITH_ORIGIN,
        ..SCENARIO
    },
    Scenario {
        name: "closed",
        exchanges: &[Exchange { bad_end: BadEnd::Close, ..GET }, Exchange { think: 9, ..POST }],
        worlds: WITH_ORIGIN,
        ..SCENARIO
    },
    Scenario {
        name: "garbage",
        exchanges: &[GET, Exchange { garbage: "GET /1\r\n\r\n", own_status: Some(400), ..GET }],
        is_pipelined: true,
        worlds: WITH_CLIENT,
        ..SCENARIO
    },
    Scenario { name: "first-down", exchanges: &[POST], origins: Origins::FirstDown, worlds: &["relay"], ..SCENARIO },
    Scenario {
        name: "down",
        exchanges: &[Exchange { own_status: Some(502), ..GET }],
        origins: Origins::Down,
        worlds: &["relay"],
        ..SCENARIO
    },
    Scenario {
        name: "silent",
        exchanges: &[Exchange { own_status: Some(504), ..POST }],
        origins: Origins::Silent,
        worlds: &["relay"],
        ..SCENARIO
    },
    Scenario {
        name: "fails-early",
        exchanges: &[Exchange { failure: Failure::Early, own_status: Some(500), ..POST }],
        worlds: &["server"],
        ..SCENARIO
    },
    Scenario {
        name: "fails-late",
        exchanges: &[GET, Exchange { failure: Failure::Late, ..GET }],
        worlds: &["server"],
        ..SCENARIO
    },
    Scenario {
        name: "fails-old",
        exchanges: &[Exchange { failure: Failure::Late, is_old: true, response: Content::UntilClose(6), ..GET }],
        worlds: &["server"],
        ..SCENARIO
    },
    Scenario {
        name: "panics",
        exchanges: &[Exchange { failure: Failure::Panic, response: Content::Chunked(&[4, 3], false), ..GET }],
        worlds: &["server"],
        ..SCENARIO
    },
    Scenario {
        name: "forgets",
        exchanges: &[Exchange { failure: Failure::Forgets, own_status: Some(500), ..GET }, GET],
        worlds: &["server"],
        ..SCENARIO
    },
    Scenario { name: "crowd", exchanges: &[GET, POST, POST, GET], clients: 2, ..SCENARIO },
    Scenario {
        name: "queue",
        exchanges: &[GET, POST, Exchange { origin_closes: true, ..POST }, GET],
        clients: 4,
        max_connections: 1,
        ..SCENARIO
    },
    Scenario {
        name: "long",
        exchanges: &[
            Exchange {
                method: "PUT",
                request: Content::Length(150_000),
                response: Content::Chunked(&[70_000, 60_000, 1], true),
                ..GET
            },
            GET,
        ],
        is_long: true,
        ..SCENARIO
    },
];

/// The scenario of that name.
pub(crate) fn scenario(name: &str) -> Arc<Scenario> {
    Arc::new(*ALL.iter().find(|scenario| scenario.name == name).expect("a scenario of that name"))
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
    if !exchange.garbage.is_empty() {
        return exchange.garbage.as_bytes().to_vec();
    }
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

/// The number in `X` of what nobody asked for.
pub(crate) const STRAY: usize = 9;

/// What an origin sends that nobody asked for.
pub(crate) fn stray(bad_end: BadEnd) -> &'static [u8] {
    match bad_end {
        BadEnd::Stray => b"HTTP/1.1 200 S\r\nX: 9\r\nContent-Length: 2\r\n\r\nzz",
        BadEnd::Timeout => b"HTTP/1.1 408 S\r\nX: 9\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        BadEnd::None | BadEnd::Close => b"",
    }
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
