//! Requests on their way: attempts at one, judged by evidence, and redirects from one to the next.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, HOST, UPGRADE};
use http::{HeaderMap, Method, Uri};
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::retry::{Attempt, GiveUp, Progress, Verdict, judge};
use sheave_lifecycle::time::Time;
use sheave_net::dial::Connect;
use sheave_net::endpoint::{Endpoint, Protocols};
use sheave_proto::error::{InvalidField, ProtocolError};
use sheave_proto::fields::Fields;
use sheave_proto::framing::{BodyLength, request_body};
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;

use crate::answer::Answer;
use crate::call::Call;
use crate::client::Inner;
use crate::content::Content;
use crate::conversation::{Broken, Conversation};
use crate::error::{CallError, ClientError};
use crate::failure::{Error, ErrorKind};
use crate::informational::OnInformational;
use crate::origin::Origin;
use crate::redirect::{RedirectFault, rewrite};
use crate::response::Response;

/// How many bytes of a redirect's content are read, so that its connection can be used again.
const MAX_DISCARDED_BYTES: usize = 16 * 1024;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// How long all of it may take, up to the last byte of the response.
    pub(crate) timeout: Option<Duration>,
    pub(crate) protocols: Protocols,
    /// Whether the origin is asked before the content is sent.
    pub(crate) expects_continue: bool,
    pub(crate) on_informational: Option<OnInformational>,
}

impl Outgoing {
    /// Whether it offers to switch to another protocol. RFC 9110 §7.8
    fn offers_switch(&self) -> bool {
        self.headers.contains_key(UPGRADE)
    }
}

/// What is the same for all attempts.
struct Prepared {
    origin: Arc<Origin>,
    head: RequestHead,
    length: BodyLength,
}

/// A failed attempt.
enum Failed {
    /// There is nothing more to try.
    Finally(ErrorKind),
    /// The connection failed under it.
    OnConnection(ErrorKind, Progress),
}

impl<C: Connect + 'static> Inner<C> {
    /// Sends a request, wherever redirects lead, until there is a response that is none.
    pub(crate) async fn send(self: &Arc<Self>, mut outgoing: Outgoing) -> Result<Response<C::Socket>, Error> {
        self.look_after();
        let mut now = self.clock.now();
        let until = outgoing.timeout.map(|timeout| now.after(timeout));
        let mut followed = 0;
        loop {
            let (conversation, made) = self.request(&mut outgoing, until, now).await?;
            let Outgoing { method, url, headers, .. } = &mut outgoing;
            let answer =
                Answer::of(conversation, made).map_err(|kind| Error::new(kind, method, Some(url)).after(made, None))?;
            let policy = &self.settings.redirect;
            let (status, location) = (answer.head.status(), answer.head.fields().get(Known::Location));
            let to = match policy.target(status, location, url, followed) {
                Ok(Some(to)) => to,
                Ok(None) => return Ok(Response::of(answer, outgoing.method, outgoing.url, &self.settings)),
                Err(fault) => return Err(Error::new(ErrorKind::Redirect(fault), method, Some(url))),
            };
            let keeps_content = rewrite(status, method, headers, url, &to);
            let content = Box::pin(answer.discard(MAX_DISCARDED_BYTES)).await;
            if keeps_content && !content.is_replayable() {
                return Err(Error::new(ErrorKind::Redirect(RedirectFault::ContentGone), method, Some(url)));
            }
            outgoing.content = if keeps_content { content } else { Content::empty() };
            outgoing.url = to;
            followed += 1;
            now = self.clock.now();
        }
    }

    /// Sends one request until it is answered, or cannot be. Says how often it was.
    async fn request(
        self: &Arc<Self>,
        outgoing: &mut Outgoing,
        until: Option<Time>,
        mut now: Time,
    ) -> Result<(Box<Conversation<C::Socket>>, u32), Error> {
        let prepared = self.prepare(outgoing, now);
        let prepared = prepared.map_err(|kind| Error::new(kind, &outgoing.method, Some(&outgoing.url)))?;
        self.with_budget(|budget| budget.request_began());
        let mut made = 0;
        loop {
            made += 1;
            let failed = match self.attempt(outgoing, &prepared, until, (made, now)).await {
                // RFC 9110 §15.5.18: who does not know the expectation gets the request without it.
                Ok(conversation) if outgoing.expects_continue && conversation.is_refused_expectation() => {
                    let answer = Answer::of(conversation, made);
                    let answer = answer.map_err(|kind| Error::new(kind, &outgoing.method, Some(&outgoing.url)))?;
                    outgoing.content = Box::pin(answer.discard(MAX_DISCARDED_BYTES)).await;
                    outgoing.expects_continue = false;
                    now = self.clock.now();
                    continue;
                }
                Ok(conversation) => return Ok((conversation, made)),
                Err(failed) => failed,
            };
            let error = |kind, why| Error::new(kind, &outgoing.method, Some(&outgoing.url)).after(made, why);
            let (kind, progress) = match failed {
                Failed::Finally(kind) => return Err(error(kind, None)),
                Failed::OnConnection(kind, progress) => (kind, progress),
            };
            match self.judge(outgoing, progress, made) {
                Verdict::Give(why) => return Err(error(kind, Some(why))),
                Verdict::Retry(evidence) => self.observer.retried(evidence),
            }
            if made > 1 {
                let wait = tokio::time::sleep(self.backoff(made));
                if Box::pin(self.within(until, wait)).await.is_err() {
                    return Err(error(kind, Some(GiveUp::Deadline)));
                }
            }
            now = self.clock.now();
        }
    }

    fn judge(&self, outgoing: &Outgoing, progress: Progress, made: u32) -> Verdict {
        let settings = &self.settings;
        let attempt = Attempt {
            progress,
            is_idempotent: outgoing.method.is_idempotent(),
            has_idempotency_key: settings.trust_idempotency_key
                && outgoing.headers.contains_key(Known::IdempotencyKey.header_name()),
            is_replayable: outgoing.content.is_replayable(),
            made,
        };
        self.with_budget(|budget| {
            let verdict = judge(&attempt, &settings.retry, budget.has_token(self.clock.now()));
            if let Verdict::Retry(_) = verdict {
                budget.spend();
            }
            verdict
        })
    }

    fn with_budget<T>(&self, with: impl FnOnce(&mut sheave_lifecycle::retry::Budget) -> T) -> T {
        with(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The upper half of an interval that doubles with each attempt: spread, and never nothing.
    fn backoff(&self, made: u32) -> Duration {
        let whole = self.settings.retry.backoff.saturating_mul(1 << made.saturating_sub(2).min(6));
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Waits for `work` until the whole has taken too long.
    async fn within<T>(&self, until: Option<Time>, work: impl Future<Output = T>) -> Result<T, ()> {
        match until {
            None => Ok(work.await),
            Some(until) => tokio::time::timeout_at(self.clock.instant(until), work).await.map_err(drop),
        }
    }

    fn prepare(&self, outgoing: &mut Outgoing, now: Time) -> Result<Prepared, ErrorKind> {
        if outgoing.offers_switch() {
            if outgoing.protocols == Protocols::Http2 {
                // RFC 9113 §8.6: HTTP/2 has no Upgrade.
                return Err(ErrorKind::Request("Upgrade is said over HTTP/1.1 alone".into()));
            }
            outgoing.protocols = Protocols::Http1;
        }
        let origin = self.origins.of(&outgoing.url, outgoing.protocols, now)?;
        if outgoing.method == Method::CONNECT {
            return Err(ErrorKind::Request("CONNECT asks for a tunnel, which is no request".into()));
        }
        if let Some(codings) = self.settings.decode.accepted()
            && !outgoing.headers.contains_key(http::header::RANGE)
        {
            outgoing.headers.entry(ACCEPT_ENCODING).or_insert(codings);
        }
        let target = outgoing.url.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('?') { format!("/{target}").into() } else { std::borrow::Cow::from(target) };
        let refused = |error: ProtocolError| ErrorKind::Request(Box::new(error));
        let mut head = RequestHead::new(outgoing.method.clone(), &target).map_err(refused)?;
        *head.fields_mut() = fields_of(outgoing, &origin)?;
        let length = content_length(&head, &outgoing.content)?;
        Ok(Prepared { origin, head, length })
    }

    /// Where the origin is, once that is known.
    async fn resolved(&self, origin: &Origin, until: Option<Time>) -> Result<Arc<[Endpoint]>, Failed> {
        match self.within(until, origin.resolved().first()).await {
            Err(()) => Err(Failed::Finally(ErrorKind::TimedOut(Progress::Connecting))),
            Ok(Ok(_)) => Ok(origin.endpoints()),
            Ok(Err(error)) => {
                origin.refresh_soon();
                Err(Failed::Finally(ErrorKind::Resolve(error)))
            }
        }
    }

    /// A connection that is not parked.
    async fn connection(
        &self,
        origin: &Origin,
        endpoints: &[Endpoint],
        reuse: Reuse,
        until: Option<Time>,
    ) -> Result<Call<C::Socket>, Failed> {
        match self.within(until, self.pool.connect(endpoints, reuse)).await {
            Err(()) => Err(Failed::Finally(ErrorKind::TimedOut(Progress::Connecting))),
            Ok(Err(error)) => {
                // All its addresses were tried: to try them again at once would meet the same.
                origin.refresh_soon();
                Err(Failed::Finally(ErrorKind::Exchange(error.into())))
            }
            Ok(Ok(call)) => Ok(call),
        }
    }

    /// Sends the request once. What it seldom waits for is in boxes of its own, or its future, which is moved into those
    /// around it, would be as large as all that is done to open a connection.
    async fn attempt(
        self: &Arc<Self>,
        outgoing: &mut Outgoing,
        prepared: &Prepared,
        until: Option<Time>,
        (made, mut now): (u32, Time),
    ) -> Result<Box<Conversation<C::Socket>>, Failed> {
        let mut endpoints = prepared.origin.endpoints();
        if endpoints.is_empty() {
            endpoints = Box::pin(self.resolved(&prepared.origin, until)).await?;
            now = self.clock.now();
        }
        // RFC 9110 §9.2.2: what is neither safe nor idempotent cannot be sent again, and is not put at risk. What became of
        // one connection may be about to become of its like: the next attempt is on a fresh one. What may have begun a
        // conversation in another protocol is not put at risk either, whatever its method.
        let reuse = match made {
            1 if outgoing.method.is_idempotent() && !outgoing.offers_switch() => Reuse::Usual,
            1 => Reuse::Careful,
            _ => Reuse::Never,
        };
        let mut call = match endpoints.iter().find_map(|endpoint| self.pool.checkout(endpoint, now, reuse)) {
            Some(call) => call,
            None => {
                let call = Box::pin(self.connection(&prepared.origin, &endpoints, reuse, until)).await?;
                now = self.clock.now();
                call
            }
        };
        let target = prepared.head.path_and_query();
        let sent = match outgoing.expects_continue {
            false => call.send_head(&prepared.head, target, prepared.length, now),
            true => {
                let mut head = prepared.head.clone();
                // Without content there is nothing to ask for. RFC 9110 §10.1.1
                if !matches!(prepared.length, BodyLength::None | BodyLength::Known(0)) {
                    let _ = head.fields_mut().set(Known::Expect, b"100-continue");
                }
                call.send_head(&head, target, prepared.length, now)
            }
        };
        if let Err(error) = sent {
            return Err(Broken::Call(error, call.progress()).into());
        }
        let awaits_continue = outgoing.expects_continue.then(|| now.after(self.settings.continue_timeout));
        let content = std::mem::take(&mut outgoing.content);
        // In the box in which it goes to the response, so that no future around this one is as large as a connection: each
        // is moved into the next.
        let mut conversation = Box::new(Conversation::begin(
            call,
            (content, prepared.length),
            (self.clock, now),
            until,
            awaits_continue,
            outgoing.on_informational.clone(),
        ));
        match std::future::poll_fn(|cx| conversation.poll_arrived(cx)).await {
            Ok(()) => Ok(conversation),
            Err(broken) => {
                outgoing.content = conversation.end(&broken);
                Err(broken.into())
            }
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        match broken {
            // Another attempt would contradict itself as this one did.
            Broken::Call(CallError::Misuse(misuse), _) => Self::Finally(ErrorKind::Request(Box::new(misuse))),
            Broken::Call(error, progress) => {
                Self::OnConnection(ErrorKind::Exchange(ClientError::Call(error, progress)), progress)
            }
            broken => Self::Finally(broken.into()),
        }
    }
}

/// What is written: Host first, and nothing that is between the client and its connection.
fn fields_of(outgoing: &Outgoing, origin: &Origin) -> Result<Fields, ErrorKind> {
    let refused = |error: InvalidField| ErrorKind::Request(Box::new(error));
    let headers = &outgoing.headers;
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let mut fields = Fields::with_capacity(headers.len() + 1, bytes + origin.authority().len() + 8);
    match headers.get(HOST) {
        Some(host) => fields.push(Known::Host, host.as_bytes()),
        None => fields.push(Known::Host, origin.authority().as_bytes()),
    }
    .map_err(refused)?;
    for (name, value) in headers {
        match Known::from_bytes(name.as_str().as_bytes()) {
            // Whether the origin is asked first is the request's to say, and nothing a header can.
            Some(Known::Host | Known::Expect) => Ok(()),
            Some(known) => fields.push(known, value.as_bytes()),
            None => fields.push_named(name.as_str(), value.as_bytes()),
        }
        .map_err(refused)?;
    }
    Ok(fields)
}

/// How the content is framed: as a header declares it, or else as long as it is.
fn content_length(head: &RequestHead, content: &Content) -> Result<BodyLength, ErrorKind> {
    let declared = request_body(head).map_err(|error| ErrorKind::Request(Box::new(error)))?;
    let owes_length = matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
    match (declared, content.len()) {
        (BodyLength::Known(declared), Some(len)) if declared != len => {
            Err(ErrorKind::Request(format!("Content-Length is {declared}, and the content has {len} bytes").into()))
        }
        (BodyLength::None, Some(0)) if content.is_none() && !owes_length => Ok(BodyLength::None),
        // RFC 9110 §8.6: methods that are expected to have content say that they have none.
        (BodyLength::None, Some(len)) => Ok(BodyLength::Known(len)),
        (BodyLength::None, None) => Ok(BodyLength::Chunked),
        (declared, _) => Ok(declared),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn how_content_is_framed() {
        struct Empty;
        impl http_body::Body for Empty {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Ready(None)
            }
        }
        let none: &[(Known, &str)] = &[];
        let (five, chunked) = (&[(Known::ContentLength, "5")][..], &[(Known::TransferEncoding, "chunked")][..]);
        let streamed = || Content::of(Empty);
        for (method, fields, content, expected) in [
            (Method::GET, none, Content::empty(), Some(BodyLength::None)),
            (Method::DELETE, none, Content::empty(), Some(BodyLength::None)),
            (Method::POST, none, Content::empty(), Some(BodyLength::Known(0))),
            (Method::PUT, none, Content::empty(), Some(BodyLength::Known(0))),
            (Method::GET, none, Content::from(""), Some(BodyLength::Known(0))),
            (Method::GET, none, Content::from("hello"), Some(BodyLength::Known(5))),
            (Method::POST, none, streamed(), Some(BodyLength::Chunked)),
            (Method::POST, five, Content::from("hello"), Some(BodyLength::Known(5))),
            (Method::POST, five, streamed(), Some(BodyLength::Known(5))),
            (Method::POST, five, Content::from("four"), None),
            (Method::POST, five, Content::empty(), None),
            (Method::POST, chunked, Content::from("hello"), Some(BodyLength::Chunked)),
            (Method::POST, &[(Known::ContentLength, "+5")], Content::from("hello"), None),
            (Method::POST, &[five[0], chunked[0]], Content::from("hello"), None),
        ] {
            let mut head = RequestHead::new(method.clone(), "/").unwrap();
            fields.iter().for_each(|(name, value)| head.fields_mut().push(*name, value.as_bytes()).unwrap());
            let found = content_length(&head, &content);
            assert_eq!(found.ok(), expected, "{method} {fields:?} {content:?}");
        }
    }
}
