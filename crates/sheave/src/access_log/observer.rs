//! The observer that turns ended exchanges into lines, one for each worker.

use std::time::SystemTime;

use clap::ValueEnum;
use sheave_lifecycle::observe::{ExchangeEnd, Observer};

use super::{combined, json_line};
use crate::calendar::Moment;
use crate::sink::Lines;

/// How a line of the access log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line, with all that is known.
    Json,
    /// Apache's combined log format.
    Combined,
}

/// Writes a line for each exchange that ended into its worker's buffer. The writing to disk is a thread's business.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: Lines,
    format: Format,
}

impl AccessLog {
    /// A log into `lines`.
    pub(crate) const fn new(lines: Lines, format: Format) -> Self {
        Self { lines, format }
    }
}

impl Observer for AccessLog {
    fn exchange_ended(&self, end: &ExchangeEnd<'_>) {
        // The calendar's clock is read for each line, not kept beside the worker's: it may be set while we run. The read
        // is a vDSO call, and small beside the formatting.
        let now = SystemTime::now();
        let began = Moment::of(now.checked_sub(end.took).unwrap_or(now));
        self.lines.push(|out| match self.format {
            Format::Json => json_line::write(out, began, end),
            Format::Combined => combined::write(out, began, end),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use sheave_lifecycle::observe::{ConnectionId, Encryption, MadeBy, Outcome, RequestWords, UpstreamPart};
    use sheave_lifecycle::retry::{Evidence, Sent};
    use sheave_lifecycle::time::Time;

    use super::*;

    #[derive(Debug)]
    struct Forger;

    impl RequestWords for Forger {
        fn host(&self) -> Option<&str> {
            Some("example.test")
        }

        fn user_agent(&self) -> Option<&str> {
            Some("curl/8\n127.0.0.1 - - forged")
        }
    }

    fn exchange() -> ExchangeEnd<'static> {
        ExchangeEnd {
            connection: ConnectionId(7),
            number: 3,
            peer: Some(([192, 0, 2, 1], 40_000).into()),
            method: "GET",
            target: "/a?b=\"c\"",
            version: "HTTP/1.1",
            encryption: None,
            words: &Forger,
            status: 200,
            outcome: Outcome::Answered(MadeBy::Origin),
            error: None,
            sent: Sent::Yes,
            request_bytes: 0,
            response_bytes: 1234,
            began: Time::ZERO,
            took: Duration::from_micros(1500),
            upstream: Some(UpstreamPart {
                address: ([127, 0, 0, 1], 9000).into(),
                connection: ConnectionId(11),
                is_reused: true,
                response_after: Some(Duration::from_micros(900)),
            }),
            attempts: 2,
            retried: Some(Evidence::ClosedBeforeWrite),
            tunnel: None,
        }
    }

    fn line(write: impl FnOnce(&mut Vec<u8>, Moment)) -> String {
        let mut out = Vec::new();
        write(&mut out, Moment::of(UNIX_EPOCH + Duration::from_micros(1_795_156_740_123_456)));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn json_tells_all() {
        assert_eq!(
            line(|out, began| json_line::write(out, began, &exchange())),
            concat!(
                r#"{"time":"2026-11-20T06:39:00.123456Z","client":"192.0.2.1:40000","method":"GET","target":"/a?b=\"c\"","#,
                r#""version":"HTTP/1.1","host":"example.test","user_agent":"curl/8\n127.0.0.1 - - forged","status":200,"#,
                r#""outcome":"answered","made_by":"origin","sent":"yes","request_bytes":0,"response_bytes":1234,"#,
                r#""took_us":1500,"connection":7,"exchange":3,"attempts":2,"retried":"closed-before-write","#,
                r#""upstream":"127.0.0.1:9000","upstream_connection":11,"upstream_reused":true,"#,
                r#""upstream_response_us":900}"#,
                "\n"
            )
        );
    }

    #[test]
    fn json_tells_of_tls() {
        let encryption = Encryption {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            alpn: Some("h2"),
            server_name: Some("example.test"),
            is_resumed: true,
        };
        let end = ExchangeEnd { encryption: Some(encryption), ..exchange() };
        let told = line(|out, began| json_line::write(out, began, &end));
        let expected = concat!(
            r#","tls":"TLSv1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","tls_resumed":true,"alpn":"h2","#,
            r#""sni":"example.test"}"#,
            "\n"
        );
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn combined_is_apaches() {
        assert_eq!(
            line(|out, began| combined::write(out, began, &exchange())),
            "192.0.2.1 - - [20/Nov/2026:06:39:00 +0000] \"GET /a?b=\\\"c\\\" HTTP/1.1\" 200 1234 \"-\" \
             \"curl/8\\n127.0.0.1 - - forged\"\n"
        );
    }

    #[test]
    fn a_head_that_could_not_be_read_leaves_a_line_too() {
        let nothing = ExchangeEnd {
            peer: None,
            method: "",
            target: "",
            words: &(),
            status: 0,
            outcome: Outcome::Reset,
            error: Some("bad-request-line"),
            sent: Sent::No,
            response_bytes: 0,
            upstream: None,
            attempts: 0,
            retried: None,
            tunnel: None,
            ..exchange()
        };
        assert_eq!(
            line(|out, began| combined::write(out, began, &nothing)),
            "- - - [20/Nov/2026:06:39:00 +0000] \"-\" - - \"-\" \"-\"\n"
        );
        assert_eq!(
            line(|out, began| json_line::write(out, began, &nothing)),
            concat!(
                r#"{"time":"2026-11-20T06:39:00.123456Z","method":"","target":"","version":"HTTP/1.1","status":0,"#,
                r#""outcome":"reset","error":"bad-request-line","sent":"no","request_bytes":0,"response_bytes":0,"#,
                r#""took_us":1500,"connection":7,"exchange":3,"attempts":0}"#,
                "\n"
            )
        );
    }

    #[test]
    fn each_exchange_is_one_line() {
        let lines = Lines::new(Arc::default(), Arc::default());
        for format in [Format::Json, Format::Combined] {
            let log = AccessLog::new(lines.clone(), format);
            log.exchange_ended(&exchange());
            let taken = lines.swap(Default::default());
            assert_eq!(taken.bytes.iter().filter(|byte| **byte == b'\n').count(), 1, "{format:?}");
        }
    }
}
