//! A message as a peer sees it, read by the letter: whatever is not exactly right panics.

/// Field lines in their order.
pub type Lines = Vec<(String, String)>;

/// A start line and fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Every byte of it, the empty line included.
    pub raw: String,
    /// The start line.
    pub start: String,
    /// The field lines.
    pub fields: Lines,
}

/// A whole message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its head.
    pub head: Head,
    /// Its content.
    pub body: Vec<u8>,
    /// Its trailer fields.
    pub trailers: Lines,
}

/// How a message's content ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads a head, its empty line included.
    pub fn parse(raw: &[u8]) -> Self {
        let raw = String::from_utf8(raw.to_vec()).expect("heads that we receive are text");
        let mut lines = raw.strip_suffix("\r\n\r\n").expect("a head ends with an empty line").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        assert!(start.bytes().all(|byte| byte >= b' ' && byte != 0x7F), "start line {start:?}");
        let fields = lines.map(field).collect();
        Self { raw, start, fields }
    }

    /// The values of all lines of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        named(&self.fields, name)
    }

    /// The value of the line of that name, of which there may be one.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} comes {} times: {values:?}", values.len());
        values.first().copied()
    }

    /// A response's status.
    pub fn status(&self) -> u16 {
        let rest = self.start.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("status line {:?}", self.start));
        assert_eq!(rest.as_bytes().get(3), Some(&b' '), "status line {:?}", self.start);
        rest[..3].parse().expect("a status is a number")
    }

    /// A request's method, target and version.
    pub fn request_line(&self) -> (&str, &str, &str) {
        match self.start.split(' ').collect::<Vec<_>>()[..] {
            [method, target, version] => (method, target, version),
            _ => panic!("request line {:?}", self.start),
        }
    }

    /// A request's target.
    pub fn target(&self) -> &str {
        self.request_line().1
    }

    /// The stable cause of an error of ours.
    pub fn cause(&self) -> Option<&str> {
        self.field("Sheave-Error").map(|value| value.split(';').next().unwrap_or_default())
    }

    /// How a request's content ends.
    pub fn request_framing(&self) -> Framing {
        match (self.field("Content-Length"), self.field("Transfer-Encoding")) {
            (None, None) => Framing::None,
            (Some(length), None) => Framing::Length(length.parse().expect("a length is a number")),
            (None, Some("chunked")) => Framing::Chunked,
            framing => panic!("two framings or an unknown one: {framing:?}"),
        }
    }

    /// How the content of a response to `method` ends.
    pub fn response_framing(&self, method: &str) -> Framing {
        let declared = self.request_framing();
        let status = self.status();
        if (100..200).contains(&status) || status == 204 {
            assert_eq!(declared, Framing::None, "{} carries framing", self.start);
        }
        match declared {
            _ if method == "HEAD" || matches!(status, 100..200 | 204 | 304) => Framing::None,
            Framing::None => Framing::UntilClose,
            declared => declared,
        }
    }
}

impl Message {
    /// The values of all lines of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    /// The value of the line of that name, of which there may be one.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// A response's status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// A request's target.
    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// The stable cause of an error of ours.
    pub fn cause(&self) -> Option<&str> {
        self.head.cause()
    }

    /// Whether it says, once, that the connection ends.
    pub fn says_close(&self) -> bool {
        self.field("Connection") == Some("close")
    }

    /// The content as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the content is text")
    }
}

/// Reads a field line.
pub fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(is_token), "field name {name:?}");
    assert!(value.bytes().all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7F), "field value {value:?}");
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

/// The values of all lines of that name.
pub fn named<'a>(lines: &'a Lines, name: &str) -> Vec<&'a str> {
    lines.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}
