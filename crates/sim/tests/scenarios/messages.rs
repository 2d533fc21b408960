//! A reader of HTTP/1.1 messages that shares nothing with the one that is tested: small, slow, and strict.

/// How a message's content ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// A message, as far as it is there.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Where its first byte stands in the stream.
    pub(crate) begin: usize,
    /// Behind its last byte, if it is whole.
    pub(crate) end: Option<usize>,
    pub(crate) start_line: String,
    /// The field lines as they are, checked.
    lines: Vec<String>,
    pub(crate) framing: Framing,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn is_whole(&self) -> bool {
        self.end.is_some()
    }

    /// The values of the fields of that name, which is in lower case.
    pub(crate) fn values<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.lines.iter().filter_map(move |line| {
            let value = line.get(name.len()..)?.strip_prefix(": ")?;
            line[..name.len()].eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let value = line.get(name.len()..)?.strip_prefix(": ")?;
            line[..name.len()].eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn word(&self, place: usize) -> &str {
        self.start_line.split(' ').nth(place).unwrap_or_default()
    }

    /// Of a request.
    pub(crate) fn method(&self) -> &str {
        self.word(0)
    }

    /// Of a request: which exchange of its scenario it belongs to. Targets are `/0`, `/1` and so on.
    pub(crate) fn exchange_of_target(&self) -> Option<usize> {
        self.word(1).strip_prefix('/')?.parse().ok()
    }

    /// Of a response: which exchange its maker says it answers.
    pub(crate) fn exchange_of_field(&self) -> Option<usize> {
        self.value("x")?.parse().ok()
    }

    /// Of a response.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status())
    }

    /// How often `Connection` says so, over all its lines.
    pub(crate) fn connection_says(&self, option: &str) -> usize {
        let members = self.values("connection").flat_map(|value| value.split(','));
        members.filter(|member| member.trim().eq_ignore_ascii_case(option)).count()
    }

    /// Whether its sender keeps the connection open after it.
    pub(crate) fn keeps_alive(&self) -> bool {
        let is_old = self.start_line.contains("HTTP/1.0");
        self.connection_says("close") == 0
            && self.framing != Framing::UntilClose
            && (!is_old || self.connection_says("keep-alive") > 0)
    }
}

/// The messages of one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) messages: Vec<Message>,
    /// Bytes behind the last message that make no whole head.
    pub(crate) rest: usize,
    /// Why it cannot be read further.
    pub(crate) broken: Option<String>,
}

impl Stream {
    /// All messages but interim responses.
    pub(crate) fn finals(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| !message.is_interim())
    }

    /// Whether there is nothing but whole messages.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest == 0 && self.broken.is_none() && self.messages.iter().all(Message::is_whole)
    }
}

/// Reads what a client sent.
pub(crate) fn requests(bytes: &[u8]) -> Stream {
    read(bytes, |message, _| {
        let words: Vec<&str> = message.start_line.split(' ').collect();
        let [_, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return Err("a bad request line".to_owned()) };
        if !target.starts_with('/') {
            return Err("a bad target".to_owned());
        }
        if message.values("host").count() != 1 && message.start_line.ends_with("1.1") {
            return Err("not one Host".to_owned());
        }
        declared(message).map(|framing| framing.unwrap_or(Framing::None))
    })
}

/// Reads what answers requests of these methods, in order; `has_fin` says whether the stream ended with a FIN.
pub(crate) fn responses(bytes: &[u8], methods: &[String], has_fin: bool) -> Stream {
    let mut stream = read(bytes, |message, before| {
        let finals = before.iter().filter(|message| !message.is_interim()).count();
        let Some(method) = methods.get(finals) else { return Err("a response without a request".to_owned()) };
        if !message.start_line.starts_with("HTTP/1.") || !(100..600).contains(&message.status()) {
            return Err("a bad status line".to_owned());
        }
        let framing = declared(message)?;
        // A 408 answers a head that did not come whole: whoever sends it does not know the method.
        let is_to_head = method == "HEAD" && message.status() != 408;
        let is_bodiless = message.is_interim() || [204, 304].contains(&message.status()) || is_to_head;
        Ok(if is_bodiless { Framing::None } else { framing.unwrap_or(Framing::UntilClose) })
    });
    if has_fin
        && let Some(last) = stream.messages.last_mut()
        && last.framing == Framing::UntilClose
    {
        last.end = Some(bytes.len());
    }
    stream
}

fn declared(message: &Message) -> Result<Option<Framing>, String> {
    let lengths: Vec<&str> = message.values("content-length").collect();
    let codings: Vec<&str> = message.values("transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(None),
        ([length], []) => {
            length.parse().map(|length| Some(Framing::Length(length))).map_err(|_| "a bad length".to_owned())
        }
        ([], ["chunked"]) => Ok(Some(Framing::Chunked)),
        _ => Err(format!("framing by {lengths:?} and {codings:?}")),
    }
}

fn read(bytes: &[u8], framing: impl Fn(&Message, &[Message]) -> Result<Framing, String>) -> Stream {
    let mut stream = Stream::default();
    let mut at = 0;
    while at < bytes.len() {
        let Some(head_len) = find(&bytes[at..], b"\r\n\r\n").map(|place| place + 4) else {
            stream.rest = bytes.len() - at;
            break;
        };
        let mut message = match head(&bytes[at..at + head_len], at) {
            Ok(message) => message,
            Err(why) => {
                stream.broken = Some(why);
                break;
            }
        };
        let content = match framing(&message, &stream.messages) {
            Ok(framing) => {
                message.framing = framing;
                content(&mut message, &bytes[at + head_len..])
            }
            Err(why) => Err(why),
        };
        match content {
            Ok(Some(len)) => {
                at += head_len + len;
                message.end = Some(at);
            }
            Ok(None) => at = bytes.len(),
            Err(why) => {
                stream.broken = Some(format!("{}: {why}", message.start_line));
                at = bytes.len();
            }
        }
        stream.messages.push(message);
    }
    stream
}

/// Where `needle` stands first; it begins with CR.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let place = from + bytes[from..].iter().position(|byte| *byte == b'\r')?;
        if bytes[place..].starts_with(needle) {
            return Some(place);
        }
        from = place + 1;
    }
}

fn head(bytes: &[u8], begin: usize) -> Result<Message, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a head that is no text".to_owned())?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start_line = lines.next().unwrap_or_default().to_owned();
    Ok(Message {
        begin,
        end: None,
        start_line,
        lines: field_lines(lines)?,
        framing: Framing::None,
        content: Vec::new(),
        trailers: Vec::new(),
    })
}

fn field_lines<'t>(lines: impl Iterator<Item = &'t str>) -> Result<Vec<String>, String> {
    let check = |line: &str| {
        let name = line.find(": ").unwrap_or(0);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_good = name > 0 && line.as_bytes()[..name].iter().all(|byte| is_name(*byte));
        if is_good { Ok(line.to_owned()) } else { Err(format!("a bad field line {line:?}")) }
    };
    lines.map(check).collect()
}

/// Takes a message's content, as far as it is here; how many bytes it was, if all of it.
fn content(message: &mut Message, rest: &[u8]) -> Result<Option<usize>, String> {
    match message.framing {
        Framing::None => Ok(Some(0)),
        Framing::Length(len) => {
            message.content = rest[..len.min(rest.len())].to_vec();
            Ok((rest.len() >= len).then_some(len))
        }
        Framing::UntilClose => {
            message.content = rest.to_vec();
            Ok(None)
        }
        Framing::Chunked => chunks(message, rest),
    }
}

fn chunks(message: &mut Message, rest: &[u8]) -> Result<Option<usize>, String> {
    let line = |at: usize| find(&rest[at..], b"\r\n").map(|place| at + place);
    let mut at = 0;
    loop {
        let Some(end) = line(at) else { return Ok(None) };
        let size = std::str::from_utf8(&rest[at..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { return Err(format!("a bad chunk size {}", rest[at..end].escape_ascii())) };
        at = end + 2;
        if size == 0 {
            break;
        }
        message.content.extend_from_slice(&rest[at..rest.len().min(at + size)]);
        let Some(behind) = rest.get(at + size..) else { return Ok(None) };
        if !b"\r\n".starts_with(&behind[..behind.len().min(2)]) {
            return Err("chunk data without CRLF".to_owned());
        }
        if behind.len() < 2 {
            return Ok(None);
        }
        at += size + 2;
    }
    let begin = at;
    loop {
        let Some(end) = line(at) else { return Ok(None) };
        if end == at {
            let text = std::str::from_utf8(&rest[begin..at]).map_err(|_| "trailers that are no text".to_owned())?;
            let lines = field_lines(text.split("\r\n").filter(|line| !line.is_empty()))?;
            let pairs = lines.iter().filter_map(|line| line.split_once(": "));
            message.trailers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
            return Ok(Some(at + 2));
        }
        at = end + 2;
    }
}

#[test]
fn reads_what_is_there() {
    let methods = ["GET", "HEAD", "POST", "GET"].map(str::to_owned);
    let bytes = b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX: 0\r\nContent-Length: 2\r\n\r\nab\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: t\r\n\r\n\
        HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc";
    let stream = responses(bytes, &methods, true);
    assert!(stream.is_whole(), "{stream:?}");
    let finals: Vec<_> = stream.finals().map(|message| (message.content.as_slice(), message.framing)).collect();
    assert_eq!(
        finals,
        [
            (&b"ab"[..], Framing::Length(2)),
            (b"", Framing::None),
            (b"abc", Framing::Chunked),
            (b"abc", Framing::UntilClose)
        ]
    );
    assert_eq!(stream.messages[3].trailers, [("t".to_owned(), "t".to_owned())]);
    // No beginning of it is whole with its last message, and none is broken.
    for len in 0..bytes.len() {
        let part = responses(&bytes[..len], &methods, false);
        assert!(part.broken.is_none(), "{len}: {part:?}");
        assert!(part.finals().filter(|message| message.is_whole()).count() < 4, "{len}");
    }
}

#[test]
fn refuses_what_is_none() {
    for bytes in [
        &b"GET /0 HTTP/1.1\r\n\r\n"[..],
        b"GET 0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /0 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"POST /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"POST /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    ] {
        assert!(requests(bytes).broken.is_some(), "{}", bytes.escape_ascii());
    }
    assert!(responses(b"HTTP/1.1 200 OK\r\n\r\n", &[], false).broken.is_some());
}
