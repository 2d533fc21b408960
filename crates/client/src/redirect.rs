//! Whether a response sends its request elsewhere, and what the request becomes there.

use std::fmt;
use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    ORIGIN, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::url::{UrlFault, is_same_origin, is_secure, resolve};

/// Which redirects are followed. Default: ten in a row, and none from `https` to `http`.
#[derive(Clone)]
pub struct RedirectPolicy {
    rule: Rule,
    follows_downgrades: bool,
}

#[derive(Clone)]
enum Rule {
    None,
    Limited(usize),
    Custom(Arc<dyn Fn(&Redirect<'_>) -> RedirectAction + Send + Sync>),
}

/// A redirect that may be followed.
#[derive(Clone, Copy, Debug)]
pub struct Redirect<'r> {
    /// The response's status.
    pub status: StatusCode,
    /// What was asked.
    pub from: &'r Uri,
    /// Where it sends us.
    pub to: &'r Uri,
    /// How many were followed before it.
    pub followed: usize,
}

/// What becomes of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedirectAction {
    /// The request goes there.
    Follow,
    /// The redirect itself is the response.
    Stop,
    /// Neither: an error, [`RedirectFault::TooMany`].
    Fail,
}

/// Why a redirect could not be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RedirectFault {
    /// More of them in a row than the policy allows.
    TooMany,
    /// It leads from `https` to `http`, where everybody on the way can read.
    Downgrade,
    /// What its `Location` says is nothing that can be asked.
    Location(UrlFault),
    /// The request is to be sent as it was, and some of its content is here no longer.
    ContentGone,
}

impl RedirectPolicy {
    /// None: a redirect is a response like others.
    pub const fn none() -> Self {
        Self { rule: Rule::None, follows_downgrades: false }
    }

    /// So many in a row; one more is an error.
    pub const fn limited(max: usize) -> Self {
        Self { rule: Rule::Limited(max), follows_downgrades: false }
    }

    /// As `rule` says, which is asked for each. It has to see to an end: [`Redirect::followed`] counts.
    pub fn custom(rule: impl Fn(&Redirect<'_>) -> RedirectAction + Send + Sync + 'static) -> Self {
        Self { rule: Rule::Custom(Arc::new(rule)), follows_downgrades: false }
    }

    /// Also those that lead from `https` to `http`.
    #[must_use]
    pub const fn following_downgrades(mut self) -> Self {
        self.follows_downgrades = true;
        self
    }

    /// Where the response sends its request, if that is to go there.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn target(
        &self,
        status: StatusCode,
        location: Option<&[u8]>,
        from: &Uri,
        followed: usize,
    ) -> Result<Option<Uri>, RedirectFault> {
        // RFC 9110 §15.4: 300 leaves the choice to people, 304 and 305 are no redirects to follow.
        let location = match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => location,
            _ => None,
        };
        let (Some(location), false) = (location, matches!(self.rule, Rule::None)) else { return Ok(None) };
        let to = resolve(from, location).map_err(RedirectFault::Location)?;
        let action = match &self.rule {
            Rule::None => RedirectAction::Stop,
            Rule::Limited(max) if followed < *max => RedirectAction::Follow,
            Rule::Limited(_) => RedirectAction::Fail,
            Rule::Custom(rule) => rule(&Redirect { status, from, to: &to, followed }),
        };
        match action {
            RedirectAction::Stop => Ok(None),
            RedirectAction::Fail => Err(RedirectFault::TooMany),
            RedirectAction::Follow
                if !self.follows_downgrades && is_secure(from) == Ok(true) && is_secure(&to) == Ok(false) =>
            {
                Err(RedirectFault::Downgrade)
            }
            RedirectAction::Follow => Ok(Some(to)),
        }
    }
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self::limited(10)
    }
}

impl fmt::Debug for RedirectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule: &dyn fmt::Debug = match &self.rule {
            Rule::None => &"none",
            Rule::Limited(max) => max,
            Rule::Custom(_) => &"custom",
        };
        let mut text = f.debug_struct("RedirectPolicy");
        text.field("rule", rule).field("follows_downgrades", &self.follows_downgrades).finish()
    }
}

impl RedirectFault {
    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooMany => "redirect-too-many",
            Self::Downgrade => "redirect-downgrade",
            Self::Location(_) => "redirect-location",
            Self::ContentGone => "redirect-content-gone",
        }
    }
}

impl fmt::Display for RedirectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("more redirects in a row than are followed"),
            Self::Downgrade => f.write_str("a redirect leads from https to http"),
            Self::Location(fault) => write!(f, "a redirect's Location cannot be asked: {fault}"),
            Self::ContentGone => {
                f.write_str("a redirect wants the request's content again, which was a stream and is gone")
            }
        }
    }
}

/// What the request becomes at the redirect's target. Says whether it keeps its content.
pub(crate) fn rewrite(status: StatusCode, method: &mut Method, headers: &mut HeaderMap, from: &Uri, to: &Uri) -> bool {
    // RFC 9110 §15.4.2, §15.4.3: a POST became a GET in every browser before anybody wrote it down. §15.4.4: a 303 names
    // another resource, which is to be read.
    let becomes_get = match status.as_u16() {
        301 | 302 => *method == Method::POST,
        303 => *method != Method::GET && *method != Method::HEAD,
        _ => false,
    };
    if becomes_get {
        *method = Method::GET;
        for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE] {
            headers.remove(name);
        }
    }
    if !is_same_origin(from, to) {
        // RFC 9110 §15.4: what was meant for one origin is not told to another. Host is that of the target.
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST, ORIGIN] {
            headers.remove(name);
        }
    }
    !becomes_get
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn where_it_leads() {
        let limited = RedirectPolicy::limited(2);
        let lax = RedirectPolicy::limited(2).following_downgrades();
        let here = RedirectPolicy::custom(|redirect| match redirect.to.host() {
            Some("here") => RedirectAction::Follow,
            Some("there") => RedirectAction::Stop,
            _ => RedirectAction::Fail,
        });
        for (policy, status, location, from, followed, expected) in [
            (&limited, 302, Some("/b"), "http://a/", 0, Ok(Some("http://a/b"))),
            (&limited, 301, Some("https://b/"), "http://a/", 1, Ok(Some("https://b/"))),
            (&limited, 308, Some("/b"), "http://a/", 2, Err(RedirectFault::TooMany)),
            (&limited, 307, Some("/b"), "https://a/", 0, Ok(Some("https://a/b"))),
            (&limited, 303, Some("http://a/"), "https://a/", 0, Err(RedirectFault::Downgrade)),
            (&lax, 303, Some("http://a/"), "https://a/", 0, Ok(Some("http://a/"))),
            (&limited, 302, None, "http://a/", 0, Ok(None)),
            (&limited, 300, Some("/b"), "http://a/", 0, Ok(None)),
            (&limited, 304, Some("/b"), "http://a/", 0, Ok(None)),
            (&limited, 305, Some("/b"), "http://a/", 0, Ok(None)),
            (&limited, 201, Some("/b"), "http://a/", 0, Ok(None)),
            (&limited, 302, Some("ftp://b"), "http://a/", 0, Err(RedirectFault::Location(UrlFault::Scheme))),
            (&RedirectPolicy::none(), 302, Some("/b"), "http://a/", 0, Ok(None)),
            (&RedirectPolicy::none(), 302, Some("ftp://b"), "http://a/", 0, Ok(None)),
            (&RedirectPolicy::limited(0), 302, Some("/b"), "http://a/", 0, Err(RedirectFault::TooMany)),
            (&here, 302, Some("//here"), "http://a/", 99, Ok(Some("http://here/"))),
            (&here, 302, Some("//there"), "http://a/", 0, Ok(None)),
            (&here, 302, Some("//elsewhere"), "http://a/", 0, Err(RedirectFault::TooMany)),
            (&here, 302, Some("http://here"), "https://a/", 0, Err(RedirectFault::Downgrade)),
        ] {
            let named = location.map(str::as_bytes);
            let found = policy.target(StatusCode::from_u16(status).unwrap(), named, &url(from), followed);
            let found = found.map(|to| to.map(|to| to.to_string()));
            assert_eq!(found, expected.map(|to| to.map(str::to_owned)), "{policy:?} {status} {location:?}");
        }
    }

    #[test]
    fn what_becomes_of_the_method() {
        let kept = |status, method: &Method| {
            let mut method = method.clone();
            let mut fields = headers(&[("content-type", "a/b"), ("content-length", "1"), ("x", "y")]);
            let keeps = rewrite(
                StatusCode::from_u16(status).unwrap(),
                &mut method,
                &mut fields,
                &url("http://a/"),
                &url("http://a/b"),
            );
            assert_eq!(fields.contains_key(CONTENT_TYPE), keeps);
            assert_eq!(fields.contains_key(CONTENT_LENGTH), keeps);
            assert!(fields.contains_key("x"));
            (method, keeps)
        };
        for status in [301, 302, 303, 307, 308] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
                let becomes_get = match (status, method.as_str()) {
                    (301 | 302, "POST") => true,
                    (303, "GET" | "HEAD") => false,
                    (303, _) => true,
                    _ => false,
                };
                let expected = if becomes_get { (Method::GET, false) } else { (method.clone(), true) };
                assert_eq!(kept(status, &method), expected, "{status} {method}");
            }
        }
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        for (to, stays) in [
            ("http://a/b", true),
            ("http://A:80/", true),
            ("http://a:81/", false),
            ("https://a/", false),
            ("http://b.a/", false),
            ("http://b/", false),
        ] {
            let mut fields = headers(&[("authorization", "x"), ("cookie", "y"), ("host", "z"), ("accept", "w")]);
            let status = StatusCode::TEMPORARY_REDIRECT;
            assert!(rewrite(status, &mut Method::GET.clone(), &mut fields, &url("http://a/"), &url(to)));
            for name in [AUTHORIZATION, COOKIE, HOST] {
                assert_eq!(fields.contains_key(&name), stays, "{to} {name}");
            }
            assert!(fields.contains_key("accept"));
        }
    }
}
