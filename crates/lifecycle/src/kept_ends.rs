//! Both ends of a connection in 16 bytes, for whoever keeps them of every connection.

use std::net::{SocketAddr, SocketAddrV4};

/// The other end of a connection and ours. Those of IPv4 lie here; others have an allocation of 64 bytes.
#[derive(Clone, Debug)]
pub struct KeptEnds(Kept);

#[derive(Clone, Debug)]
enum Kept {
    None,
    V4 { peer: SocketAddrV4, local: SocketAddrV4 },
    Other(Box<(Option<SocketAddr>, Option<SocketAddr>)>),
}

impl KeptEnds {
    /// Keeps what is known of them.
    pub fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self(match (peer, local) {
            (None, None) => Kept::None,
            (Some(SocketAddr::V4(peer)), Some(SocketAddr::V4(local))) => Kept::V4 { peer, local },
            both => Kept::Other(Box::new(both)),
        })
    }

    /// The other end.
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kept::None => None,
            Kept::V4 { peer, .. } => Some((*peer).into()),
            Kept::Other(both) => both.0,
        }
    }

    /// Our end.
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kept::None => None,
            Kept::V4 { local, .. } => Some((*local).into()),
            Kept::Other(both) => both.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let some = |text: &str| Some(text.parse::<SocketAddr>().expect("an address"));
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
