//! Origins by what their URLs say: names that were resolved are kept while they are asked for, and followed as they move.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_net::endpoint::{Manner, Protocols, Secure};
use sheave_net::host_port::HostPort;
use sheave_net::lookup::Lookup;
use sheave_net::resolve::{ResolvePlan, Resolved, resolve};
use sheave_net::tls::certificate::Roots;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::SettingsError;

use crate::by_site::SiteHasher;
use crate::failure::ErrorKind;
use crate::origin::Origin;
use crate::url::{UrlFault, host_and_port, is_secure};

/// Origins that are known at a time: the one that was not asked for the longest gives way.
const MAX_ORIGINS: usize = 1024;

/// How long an origin is known that nobody asks for.
const KNOWN_FOR: Duration = Duration::from_mins(5);

/// Origins that were asked for lately.
pub(crate) struct Origins {
    known: Mutex<HashMap<Box<[u8]>, Known, Seed>>,
    lookup: AnyLookup,
    plan: ResolvePlan,
    tls: OnceLock<Result<ClientTls, SettingsError>>,
    clock: Clock,
}

/// Hashes by what differs from client to client: what is asked may come from strangers, who would have to guess it to make
/// origins collide. The bound on their number is the bound on what that could cost.
struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for Seed {
    type Hasher = SiteHasher;

    fn build_hasher(&self) -> SiteHasher {
        SiteHasher::seeded(self.0)
    }
}

/// An origin, and when it was last asked for.
struct Known {
    origin: Arc<Origin>,
    used: Time,
}

impl Origins {
    /// None yet. Without `tls`, whom the system believes is read when it is first asked for.
    pub(crate) fn new(lookup: AnyLookup, plan: ResolvePlan, tls: Option<ClientTls>, clock: Clock) -> Self {
        let cell = OnceLock::new();
        if let Some(tls) = tls {
            let _ = cell.set(Ok(tls));
        }
        Self { known: Mutex::default(), lookup, plan, tls: cell, clock }
    }

    /// The origin of `url`, spoken to in these versions, which is asked for now. It may have no address yet.
    ///
    /// # Errors
    /// What is wrong with the URL, or with TLS.
    pub(crate) fn of(self: &Arc<Self>, url: &Uri, protocols: Protocols, now: Time) -> Result<Arc<Origin>, ErrorKind> {
        let secure = is_secure(url).map_err(ErrorKind::Url)?;
        // Without TLS there is no choice to be made on the wire.
        let protocols = if !secure && protocols == Protocols::Either { Protocols::Http1 } else { protocols };
        let authority = url.authority().ok_or(ErrorKind::Url(UrlFault::NoHost))?.as_str();
        // What differs in the pool differs here; what is written in two ways is found twice, and is one there.
        let mark = match protocols {
            Protocols::Http1 => '1',
            Protocols::Http2 => '2',
            Protocols::Either => 'e',
        };
        let mut key = smallvec::SmallVec::<[u8; 64]>::new();
        key.extend_from_slice(if secure { b"s" } else { b"p" });
        key.push(mark as u8);
        key.extend_from_slice(authority.as_bytes());
        if let Some(known) = self.lock().get_mut(&key[..]) {
            known.used = now;
            return Ok(known.origin.clone());
        }
        self.meet(&key, url, secure, protocols, now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<[u8]>, Known, Seed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(
        self: &Arc<Self>,
        key: &[u8],
        url: &Uri,
        secure: bool,
        protocols: Protocols,
        now: Time,
    ) -> Result<Arc<Origin>, ErrorKind> {
        let (host, port) = host_and_port(url).map_err(ErrorKind::Url)?;
        let wrong = |_| ErrorKind::Url(UrlFault::Host);
        let name = HostPort::new(&host.to_ascii_lowercase(), port).map_err(wrong)?;
        let tls = match secure {
            false => None,
            true => Some(Secure {
                client: self.tls().map_err(ErrorKind::Tls)?,
                name: host.parse().map_err(|_| ErrorKind::Url(UrlFault::Host))?,
            }),
        };
        let resolved = match name.literal() {
            Some(address) => Resolved::fixed(address),
            None => self.follow(key, name),
        };
        let manner = Manner { tls, protocols, announces: None };
        let origin = Arc::new(Origin::new(resolved, "").spoken_to(manner));
        let mut known = self.lock();
        if known.len() >= MAX_ORIGINS {
            let oldest = known.iter().min_by_key(|(_, known)| known.used).map(|(key, _)| key.clone());
            oldest.map(|key| known.remove(&key));
        }
        known.insert(key.into(), Known { origin: origin.clone(), used: now });
        Ok(origin)
    }

    fn tls(&self) -> Result<ClientTls, SettingsError> {
        let of_the_system = || ClientTls::new(&ClientSettings::new(Trust::Roots(Roots::of_the_system())));
        self.tls.get_or_init(of_the_system).clone()
    }

    /// Looks a name up, again and again, until nobody asks for it any more.
    fn follow(self: &Arc<Self>, key: &[u8], name: HostPort) -> Resolved {
        let (resolved, refresher) = resolve(name, self.plan, self.lookup.clone());
        let (origins, key): (Weak<Self>, Box<[u8]>) = (Arc::downgrade(self), key.into());
        tokio::spawn(async move {
            let work = async {
                refresher.run(|_| {}).await;
            };
            let boredom = async {
                loop {
                    tokio::time::sleep(KNOWN_FOR).await;
                    if origins.upgrade().is_none_or(|origins| origins.forget_unused(&key)) {
                        break;
                    }
                }
            };
            either(work, boredom).await;
        });
        resolved
    }

    /// Forgets an origin that was not asked for; says whether it is known no more.
    fn forget_unused(&self, key: &[u8]) -> bool {
        let now = self.clock.now();
        let mut known = self.lock();
        let is_unused = known.get(key).is_none_or(|known| now.since(known.used) >= KNOWN_FOR);
        if is_unused {
            known.remove(key);
        }
        is_unused
    }

    /// Forgets all: whoever looked after them is gone.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Ready when one of both is; the other is dropped.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(|cx| {
        if one.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(());
        }
        other.as_mut().poll(cx)
    })
    .await;
}

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Any [`Lookup`].
#[derive(Clone)]
pub(crate) struct AnyLookup(Arc<dyn Fn(HostPort) -> Found + Send + Sync>);

impl AnyLookup {
    pub(crate) fn new(lookup: impl Lookup) -> Self {
        let lookup = Arc::new(lookup);
        Self(Arc::new(move |name| {
            let lookup = lookup.clone();
            Box::pin(async move { lookup.lookup(&name).await })
        }))
    }
}

impl Lookup for AnyLookup {
    fn lookup(&self, name: &HostPort) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        (self.0)(name.clone())
    }
}

impl fmt::Debug for AnyLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyLookup")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Lookup for Counting {
        async fn lookup(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![([192, 0, 2, 1], name.port()).into()])
        }
    }

    fn origins(lookup: &Counting) -> Arc<Origins> {
        let lookup = AnyLookup::new(lookup.clone());
        Arc::new(Origins::new(lookup, ResolvePlan::default(), None, Clock::start()))
    }

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_once_and_followed_while_it_is_asked_for() {
        let lookup = Counting::default();
        let origins = origins(&lookup);
        let of = |text: &str| origins.of(&url(text), Protocols::Http1, origins.clock.now()).unwrap();
        let one = of("http://Origin.example/x");
        assert_eq!(one.authority(), "origin.example");
        one.resolved().first().await.unwrap();
        assert!(Arc::ptr_eq(&one, &of("http://Origin.example/y?z")));
        assert_eq!((lookup.0.load(Ordering::Relaxed), origins.len()), (1, 1));
        assert!(!Arc::ptr_eq(&one, &of("http://origin.example:8080/")));
        assert_eq!(of("http://origin.example:8080/").authority(), "origin.example:8080");
        assert_eq!(origins.len(), 2);
        drop(one);
        tokio::time::sleep(KNOWN_FOR * 2 + Duration::from_secs(1)).await;
        assert_eq!(origins.len(), 0);
        let asked = lookup.0.load(Ordering::Relaxed);
        tokio::time::sleep(KNOWN_FOR).await;
        assert_eq!(lookup.0.load(Ordering::Relaxed), asked, "nobody asks for nothing");
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_need_no_lookup_and_there_are_never_too_many() {
        let lookup = Counting::default();
        let origins = origins(&lookup);
        for port in 1..=MAX_ORIGINS + 5 {
            let url = url(&format!("http://[::1]:{port}/"));
            let origin = origins.of(&url, Protocols::Http1, origins.clock.now()).unwrap();
            assert_eq!(origin.endpoints().len(), 1);
        }
        assert_eq!((lookup.0.load(Ordering::Relaxed), origins.len()), (0, MAX_ORIGINS));
        origins.clear();
        assert_eq!(origins.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked() {
        let origins = origins(&Counting::default());
        for (text, expected) in [
            ("ftp://a/", UrlFault::Scheme),
            ("/a", UrlFault::NoHost),
            ("http://a..b/", UrlFault::Host),
            ("http://10.1/", UrlFault::Host),
            ("http://a:0/", UrlFault::Host),
        ] {
            let found = origins.of(&url(text), Protocols::Http1, Time::ZERO).err();
            assert!(matches!(found, Some(ErrorKind::Url(fault)) if fault == expected), "{text}: {found:?}");
        }
    }
}
