//! Every refusal by its own name, sorted by blame: the peer's (`ProtocolError`) and the caller's (`Misuse`).

use std::fmt;

use http::StatusCode;

/// Declares an enum of facts with a `label()`, a sentence each, and `ALL`, so that no variant can lack any of them.
macro_rules! facts {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident $({ $( $(#[$fdoc:meta])* $fact:ident : $kind:ty ),+ })? => $label:literal, $sentence:literal; )+
        }
    ) => {
        $(#[$outer])*
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$doc])* $variant $({ $( $(#[$fdoc])* $fact: $kind ),+ })?, )+
        }

        impl $name {
            /// Every variant once, its facts set to zero: for tables, tests and metrics that want all labels beforehand.
            pub const ALL: &'static [Self] = &[ $( Self::$variant $({ $( $fact: 0 ),+ })?, )+ ];

            /// The variant's name in kebab case. It never changes: metrics, logs and dashboards may rely on it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $( Self::$variant { .. } => $label, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self { $( Self::$variant $({ $( $fact ),+ })? => write!(f, $sentence), )+ }
            }
        }

        impl std::error::Error for $name {}
    };
}

facts! {
    /// What a peer sent that cannot be read in exactly one way, or that exceeds a bound.
    ///
    /// Whoever meets one answers with [`status`](Self::status) if it is a server and the answer can still be written,
    /// closes the connection in any case, and reads no further message from it (RFC 9112 §9.6).
    pub enum ProtocolError {
        /// A line ended in LF without CR before it.
        BareLf => "bare-lf", "a line ends in a bare LF";
        /// A CR was not followed by LF.
        BareCr => "bare-cr", "a CR is not followed by LF";
        /// NUL, DEL or another control byte where text belongs.
        ControlByte {
            /// The byte.
            byte: u8
        } => "control-byte", "control byte 0x{byte:02x} where text belongs";
        /// A field line was continued on an indented line (obs-fold).
        ObsFold => "obs-fold", "a field line is folded over two lines";
        /// Blanks stood between a field name and its colon.
        SpaceBeforeColon => "space-before-colon", "blanks stand between a field name and its colon";
        /// A field line had no colon.
        MissingColon => "missing-colon", "a field line has no colon";
        /// The first line after the start line began with a blank.
        IndentedFirstLine => "indented-first-line", "the first field line begins with a blank";
        /// A field name was empty or held a byte that is no token character.
        InvalidFieldName {
            /// The first byte that does not belong into a name (`:` when the name is empty).
            byte: u8
        } => "invalid-field-name", "byte 0x{byte:02x} does not belong into a field name";
        /// The method was empty or no token.
        InvalidMethod => "invalid-method", "the method is not a token";
        /// The request line was not `method SP target SP version`.
        InvalidRequestLine => "invalid-request-line", "the request line is not three parts with one blank between them";
        /// The request target held a blank, a control byte, `#` or a byte over 0x7E, or was none of the four forms.
        InvalidTarget => "invalid-target", "the request target is none of the four forms";
        /// The target's form does not belong to the method, such as `*` with GET or a path with CONNECT.
        TargetFormMismatch => "target-form-mismatch", "the form of the request target does not fit the method";
        /// An HTTP/1.1 request came without Host.
        MissingHost => "missing-host", "the request has no Host";
        /// Host came more than once.
        RepeatedHost => "repeated-host", "the request has more than one Host";
        /// Host was not `uri-host [":" port]`.
        InvalidHost => "invalid-host", "Host is not a host with an optional port";
        /// The version was well formed but its major number is not ours.
        UnsupportedVersion {
            /// The major version, a digit's value.
            major: u8
        } => "unsupported-version", "HTTP/{major} is not spoken in this syntax";
        /// What stood in the version's place was no version.
        MalformedVersion => "malformed-version", "the version is not HTTP/ with two digits";
        /// A response did not begin with `HTTP/`: HTTP/0.9, `ICY`, a lower-case version or another protocol.
        NotHttp => "not-http", "the response does not begin with HTTP/";
        /// The status was not three digits from 100 to 599.
        InvalidStatus => "invalid-status", "the status is not three digits from 100 to 599";
        /// Content-Length was not `1*DIGIT`: a sign, a list, hex, a blank inside, or nothing at all.
        InvalidContentLength => "invalid-content-length", "Content-Length is not a plain decimal number";
        /// Content-Length came more than once, equal or not.
        RepeatedContentLength => "repeated-content-length", "Content-Length comes more than once";
        /// Content-Length does not fit into 64 bits.
        ContentLengthOverflow => "content-length-overflow", "Content-Length does not fit into 64 bits";
        /// Content-Length and Transfer-Encoding came together.
        ContentLengthWithTransferEncoding => "content-length-with-transfer-encoding", "Content-Length and Transfer-Encoding come together";
        /// Transfer-Encoding was not exactly one `chunked`.
        InvalidTransferEncoding => "invalid-transfer-encoding", "Transfer-Encoding is not exactly one chunked";
        /// Transfer-Encoding named a coding that we do not know.
        UnknownTransferCoding => "unknown-transfer-coding", "Transfer-Encoding names a coding that is not known here";
        /// Transfer-Encoding came in a message of HTTP/1.0.
        TransferEncodingInHttp10 => "transfer-encoding-in-http10", "Transfer-Encoding comes in HTTP/1.0";
        /// A chunk's size was not `1*16HEXDIG` followed by `;` or CRLF.
        InvalidChunkSize {
            /// The byte that ended the reading.
            byte: u8
        } => "invalid-chunk-size", "byte 0x{byte:02x} does not belong into a chunk size";
        /// A chunk's size had more than 16 digits.
        ChunkSizeOverflow => "chunk-size-overflow", "a chunk size has more than 16 digits";
        /// The bytes after a chunk's data were not CRLF.
        MissingChunkCrlf => "missing-chunk-crlf", "a chunk's data is not followed by CRLF";
        /// A chunk extension was not `;name[=token or quoted-string]`.
        InvalidChunkExtension {
            /// The byte that ended the reading.
            byte: u8
        } => "invalid-chunk-extension", "byte 0x{byte:02x} does not belong into a chunk extension";
        /// One message's chunk extensions held too many bytes.
        ChunkExtensionsTooLong {
            /// The bound in bytes.
            limit: usize
        } => "chunk-extensions-too-long", "the chunk extensions are longer than {limit} bytes";
        /// The trailer section held too many bytes.
        TrailersTooLarge {
            /// The bound in bytes.
            limit: usize
        } => "trailers-too-large", "the trailer section is larger than {limit} bytes";
        /// A trailer line named a field that frames or routes the message.
        ForbiddenTrailer => "forbidden-trailer", "a trailer field frames or routes the message";
        /// The head held too many bytes.
        HeadTooLarge {
            /// The bound in bytes.
            limit: usize
        } => "head-too-large", "the head is larger than {limit} bytes";
        /// The head or the trailer section held too many field lines.
        TooManyFields {
            /// The bound in lines.
            limit: usize
        } => "too-many-fields", "there are more than {limit} field lines";
        /// Connection named too many options.
        TooManyConnectionOptions {
            /// The bound in options.
            limit: usize
        } => "too-many-connection-options", "Connection names more than {limit} options";
        /// The request line held too many bytes.
        RequestLineTooLong {
            /// The bound in bytes.
            limit: usize
        } => "request-line-too-long", "the request line is longer than {limit} bytes";
        /// Too many empty lines came before a request line.
        TooManyLeadingNewlines {
            /// The bound in lines.
            limit: usize
        } => "too-many-leading-newlines", "more than {limit} empty lines come before the request line";
        /// Too many 1xx responses came before the final one.
        TooManyInformational {
            /// The bound in responses.
            limit: usize
        } => "too-many-informational", "more than {limit} informational responses come before the final one";
        /// The content is larger than the bound.
        BodyTooLarge {
            /// The bound in bytes.
            limit: u64
        } => "body-too-large", "the content is larger than {limit} bytes";
        /// A 101 came that no request of ours asked for, or that did not name what we asked for.
        UnaskedSwitch => "unasked-switch", "a 101 answers no upgrade that was asked for";
        /// Bytes came that belong to no message, such as a response without a request.
        UnaskedBytes => "unasked-bytes", "bytes come that belong to no message";
        /// The stream ended amid a head.
        TruncatedHead => "truncated-head", "the stream ends amid a head";
        /// The stream ended before the body did.
        TruncatedBody => "truncated-body", "the stream ends before the body does";
        /// Expect named something other than `100-continue`.
        UnknownExpectation => "unknown-expectation", "Expect names something other than 100-continue";
        /// Max-Forwards was not `1*DIGIT`, or came twice.
        InvalidMaxForwards => "invalid-max-forwards", "Max-Forwards is not one plain decimal number";
        /// A field value of HTTP/2 began or ended with a blank.
        PaddedFieldValue => "padded-field-value", "a field value begins or ends with a blank";
        /// A field of HTTP/2 spoke of the connection: Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade.
        ConnectionField => "connection-field", "a field speaks of the connection, which HTTP/2 does not allow";
        /// TE of HTTP/2 said something other than `trailers`.
        InvalidTe => "invalid-te", "TE says something other than trailers";
        /// A pseudo-field stood where none may: among trailers, or unknown.
        MisplacedPseudoField => "misplaced-pseudo-field", "a pseudo-field stands where none may";
        /// `:scheme` was neither `http` nor `https`.
        InvalidScheme => "invalid-scheme", "the scheme is neither http nor https";
        /// `:protocol` was no token, or came with another method than CONNECT.
        InvalidProtocol => "invalid-protocol", "the protocol is no token, or the method is not CONNECT";
        /// Host and `:authority` named different hosts.
        HostMismatch => "host-mismatch", "Host and the authority name different hosts";
        /// The DATA frames were more or fewer bytes than Content-Length said.
        ContentLengthMismatch => "content-length-mismatch", "the content is not as long as Content-Length says";
        /// Content-Length came with CONNECT, whose bytes are the tunnel's.
        ContentLengthInConnect => "content-length-in-connect", "CONNECT has no content, and yet Content-Length";
    }
}

impl ProtocolError {
    /// What a server answers to it. A proxy that met it in an origin's response answers 502 instead (RFC 9110 §15.6.3),
    /// which is also what stands here for those that only a response can cause.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BareLf
            | Self::BareCr
            | Self::ControlByte { .. }
            | Self::ObsFold
            | Self::SpaceBeforeColon
            | Self::MissingColon
            | Self::IndentedFirstLine
            | Self::InvalidFieldName { .. }
            | Self::InvalidMethod
            | Self::InvalidRequestLine
            | Self::InvalidTarget
            | Self::TargetFormMismatch
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::InvalidHost
            | Self::MalformedVersion
            | Self::InvalidContentLength
            | Self::RepeatedContentLength
            | Self::ContentLengthWithTransferEncoding
            | Self::InvalidTransferEncoding
            | Self::TransferEncodingInHttp10
            | Self::InvalidChunkSize { .. }
            | Self::ChunkSizeOverflow
            | Self::MissingChunkCrlf
            | Self::InvalidChunkExtension { .. }
            | Self::ChunkExtensionsTooLong { .. }
            | Self::ForbiddenTrailer
            | Self::TooManyLeadingNewlines { .. }
            | Self::UnaskedBytes
            | Self::TruncatedHead
            | Self::TruncatedBody
            | Self::InvalidMaxForwards
            | Self::PaddedFieldValue
            | Self::ConnectionField
            | Self::InvalidTe
            | Self::MisplacedPseudoField
            | Self::InvalidScheme
            | Self::InvalidProtocol
            | Self::HostMismatch
            | Self::ContentLengthMismatch
            | Self::ContentLengthInConnect => StatusCode::BAD_REQUEST,
            Self::ContentLengthOverflow | Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestLineTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::TrailersTooLarge { .. }
            | Self::HeadTooLarge { .. }
            | Self::TooManyFields { .. }
            | Self::TooManyConnectionOptions { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::NotHttp | Self::InvalidStatus | Self::TooManyInformational { .. } | Self::UnaskedSwitch => {
                StatusCode::BAD_GATEWAY
            }
            Self::UnsupportedVersion { .. } => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// What becomes of an HTTP/2 request that broke it: true for a reset of its stream with PROTOCOL_ERROR (RFC 9113
    /// §8.1.1), false for an answer with [`status`](Self::status).
    ///
    /// A reset is for what no client that is merely mistaken sends: what HTTP/2 itself forbids, and what two readers could
    /// frame differently. Whoever asked for something that is too large, or for a host or a target that is none, is told so.
    #[must_use]
    pub const fn resets_stream(self) -> bool {
        matches!(
            self,
            Self::ControlByte { .. }
                | Self::InvalidFieldName { .. }
                | Self::InvalidMethod
                | Self::InvalidContentLength
                | Self::RepeatedContentLength
                | Self::UnaskedBytes
                | Self::TruncatedHead
                | Self::TruncatedBody
                | Self::ForbiddenTrailer
                | Self::PaddedFieldValue
                | Self::ConnectionField
                | Self::InvalidTe
                | Self::MisplacedPseudoField
                | Self::InvalidScheme
                | Self::InvalidProtocol
                | Self::ContentLengthMismatch
                | Self::ContentLengthInConnect
        )
    }

    /// Where the rule stands that was broken, such as `"RFC 9112 §5.1"`.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::BareLf | Self::BareCr | Self::IndentedFirstLine | Self::TooManyLeadingNewlines { .. } => {
                "RFC 9112 §2.2"
            }
            Self::MalformedVersion => "RFC 9112 §2.3",
            Self::InvalidRequestLine | Self::RequestLineTooLong { .. } => "RFC 9112 §3",
            Self::InvalidMethod => "RFC 9112 §3.1",
            Self::InvalidTarget
            | Self::TargetFormMismatch
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::InvalidHost => "RFC 9112 §3.2",
            Self::NotHttp | Self::InvalidStatus => "RFC 9112 §4",
            Self::MissingColon => "RFC 9112 §5",
            Self::SpaceBeforeColon => "RFC 9112 §5.1",
            Self::ObsFold => "RFC 9112 §5.2",
            Self::InvalidTransferEncoding | Self::UnknownTransferCoding | Self::TransferEncodingInHttp10 => {
                "RFC 9112 §6.1"
            }
            Self::RepeatedContentLength | Self::ContentLengthWithTransferEncoding | Self::UnaskedBytes => {
                "RFC 9112 §6.3"
            }
            Self::InvalidChunkSize { .. } | Self::ChunkSizeOverflow | Self::MissingChunkCrlf => "RFC 9112 §7.1",
            Self::InvalidChunkExtension { .. } | Self::ChunkExtensionsTooLong { .. } => "RFC 9112 §7.1.1",
            Self::TrailersTooLarge { .. } => "RFC 9112 §7.1.2",
            Self::TruncatedHead | Self::TruncatedBody => "RFC 9112 §8",
            Self::InvalidFieldName { .. } => "RFC 9110 §5.1",
            Self::ControlByte { .. } => "RFC 9110 §5.5",
            Self::ForbiddenTrailer => "RFC 9110 §6.5.1",
            Self::TooManyConnectionOptions { .. } => "RFC 9110 §7.6.1",
            Self::InvalidMaxForwards => "RFC 9110 §7.6.2",
            Self::UnaskedSwitch => "RFC 9110 §7.8",
            Self::InvalidContentLength | Self::ContentLengthOverflow => "RFC 9110 §8.6",
            Self::UnknownExpectation => "RFC 9110 §10.1.1",
            Self::TooManyInformational { .. } => "RFC 9110 §15.2",
            Self::BodyTooLarge { .. } => "RFC 9110 §15.5.14",
            Self::UnsupportedVersion { .. } => "RFC 9110 §15.6.6",
            Self::MisplacedPseudoField => "RFC 9113 §8.1",
            Self::ContentLengthMismatch => "RFC 9113 §8.1.1",
            Self::PaddedFieldValue => "RFC 9113 §8.2.1",
            Self::ConnectionField | Self::InvalidTe => "RFC 9113 §8.2.2",
            Self::InvalidScheme | Self::HostMismatch => "RFC 9113 §8.3.1",
            Self::ContentLengthInConnect => "RFC 9113 §8.5",
            Self::InvalidProtocol => "RFC 8441 §4",
            Self::HeadTooLarge { .. } | Self::TooManyFields { .. } => "RFC 6585 §5",
        }
    }
}

facts! {
    /// What the caller asked for that would have made a message that cannot be read. Nothing was written.
    pub enum Misuse {
        /// The call does not belong to the state that the message is in.
        WrongState => "wrong-state", "the call does not belong to the state of the message";
        /// More content than was declared.
        BodyTooLong {
            /// Bytes beyond the declared length.
            excess: u64
        } => "body-too-long", "the content is {excess} bytes longer than declared";
        /// The body was finished before all of it was written.
        BodyTooShort {
            /// Bytes that are missing.
            missing: u64
        } => "body-too-short", "the content is {missing} bytes shorter than declared";
        /// The body was written to after its end.
        BodyEnded => "body-ended", "the body has already ended";
        /// Content for a message that can have none.
        ContentNotAllowed => "content-not-allowed", "the message can have no content";
        /// Trailers for a body that is not chunked.
        TrailersWithoutChunked => "trailers-without-chunked", "only a chunked body can have trailers";
        /// A trailer field that frames or routes the message.
        ForbiddenTrailer => "forbidden-trailer", "a trailer field frames or routes the message";
        /// A request whose end would be the end of the connection.
        RequestUntilClose => "request-until-close", "a request's body cannot end with the connection";
        /// A 1xx response to a client of HTTP/1.0.
        InformationalToHttp10 => "informational-to-http10", "an HTTP/1.0 client understands no 1xx response";
        /// A 101 without an Upgrade field, or as anything but an upgrade.
        SwitchWithoutUpgrade => "switch-without-upgrade", "a 101 names no protocol to switch to";
        /// A request without a Host field.
        MissingHost => "missing-host", "the request has no Host";
        /// A request with more than one Host field.
        RepeatedHost => "repeated-host", "the request has more than one Host";
        /// A request target that cannot be written.
        InvalidTarget => "invalid-target", "the request target cannot be written";
        /// A Host that cannot be written as an authority.
        InvalidHost => "invalid-host", "Host cannot be written as an authority";
        /// A field that HTTP/2 cannot carry.
        InvalidField => "invalid-field", "a field cannot be written";
        /// More fields than one head can carry.
        TooManyFields => "too-many-fields", "there are more fields than one head can carry";
    }
}

facts! {
    /// Why a field was not taken into [`Fields`](crate::fields::Fields).
    pub enum InvalidField {
        /// The name is empty or no token (RFC 9110 §5.1), or longer than 65,535 bytes.
        Name => "invalid-name", "the field name is not a token";
        /// The value holds CR, LF, NUL or another control byte, or begins or ends with a blank (RFC 9110 §5.5).
        Value => "invalid-value", "the field value holds a byte that cannot be sent";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_label(label: &str) -> bool {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    }

    fn assert_labels(labels: &[&str]) {
        let mut seen = std::collections::BTreeSet::new();
        for label in labels {
            assert!(is_label(label), "{label:?} is not kebab case");
            assert!(seen.insert(*label), "{label} stands twice");
        }
    }

    #[test]
    fn labels_are_unique_and_kebab_case() {
        assert_labels(&ProtocolError::ALL.iter().map(|error| error.label()).collect::<Vec<_>>());
        assert_labels(&Misuse::ALL.iter().map(|error| error.label()).collect::<Vec<_>>());
        assert_labels(&InvalidField::ALL.iter().map(|error| error.label()).collect::<Vec<_>>());
    }

    #[test]
    fn every_refusal_has_a_status_a_section_and_a_sentence() {
        let mut table = String::new();
        for error in ProtocolError::ALL {
            let (status, section, sentence) = (error.status(), error.section(), error.to_string());
            assert!(status.is_client_error() || status.is_server_error(), "{error:?}");
            assert!(section.starts_with("RFC "), "{error:?}");
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{error:?}");
            table.push_str(&format!("{:<40} {} {:<18} {}\n", error.label(), status.as_u16(), section, sentence));
        }
        insta::assert_snapshot!("protocol_errors", table);
    }

    #[test]
    fn facts_stand_in_the_sentence() {
        let table = [
            (ProtocolError::ControlByte { byte: 0 }.to_string(), "control byte 0x00 where text belongs"),
            (ProtocolError::HeadTooLarge { limit: 9 }.to_string(), "the head is larger than 9 bytes"),
            (Misuse::BodyTooShort { missing: 3 }.to_string(), "the content is 3 bytes shorter than declared"),
        ];
        for (sentence, expected) in table {
            assert_eq!(sentence, expected);
        }
    }

    #[test]
    fn errors_are_small() {
        assert!(size_of::<ProtocolError>() <= 16);
        assert!(size_of::<Misuse>() <= 16);
    }
}
