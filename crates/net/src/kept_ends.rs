//! Both ends of a connection in 16 bytes, as every connection keeps them.

use std::net::{SocketAddr, SocketAddrV4};

/// The other end and ours. Those of IPv4 lie here; others have an allocation of 64 bytes.
#[derive(Clone)]
pub(crate) enum KeptEnds {
    None,
    V4 { peer: SocketAddrV4, local: SocketAddrV4 },
    Other(Box<(Option<SocketAddr>, Option<SocketAddr>)>),
}

impl KeptEnds {
    pub(crate) fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        match (peer, local) {
            (None, None) => Self::None,
            (Some(SocketAddr::V4(peer)), Some(SocketAddr::V4(local))) => Self::V4 { peer, local },
            both => Self::Other(Box::new(both)),
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::V4 { peer, .. } => Some((*peer).into()),
            Self::Other(both) => both.0,
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::V4 { local, .. } => Some((*local).into()),
            Self::Other(both) => both.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let some = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let addresses = [None, some("192.0.2.1:80"), some("[2001:db8::1]:443")];
        for peer in addresses {
            for local in addresses {
                let kept = KeptEnds::new(peer, local);
                assert_eq!((kept.peer(), kept.local()), (peer, local));
            }
        }
        assert_eq!(size_of::<KeptEnds>(), 16);
    }
}
