//! Opens connections on the simulated network.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_net::dial::Connect;
use sheave_net::endpoint::Endpoint;

use crate::net::SimNet;
use crate::socket::SimSocket;
use crate::tcp::End;
use crate::trace::{What, Whose};

/// How long the kernel waits before it sends a SYN again that was not answered; doubles each time. RFC 6298 §2.
const FIRST_RETRANSMISSION: Duration = Duration::from_secs(1);

/// Opens connections, each from a port of its own.
#[derive(Clone)]
pub struct SimConnector {
    net: SimNet,
    whose: Whose,
}

impl SimNet {
    /// Opens connections for what is tested: to origins.
    pub fn connector(&self) -> SimConnector {
        SimConnector { net: self.clone(), whose: Whose::Ours }
    }

    /// Opens connections for a script: as a client.
    pub fn client(&self) -> SimConnector {
        SimConnector { net: self.clone(), whose: Whose::Peers }
    }
}

/// What becomes of a SYN.
enum Answer {
    Established(SimSocket),
    Refused,
    Ignored,
}

impl SimConnector {
    fn try_connect(&self, address: SocketAddr) -> Answer {
        let established = self.net.with(|state| {
            if self.whose == Whose::Ours {
                state.begin(Whose::Ours);
            }
            match state.listeners.get(&address) {
                None => {
                    state.tell(What::ConnectRefused);
                    return Err(Answer::Refused);
                }
                Some(backlog) if backlog.refuses => return Err(Answer::Ignored),
                Some(_) => {}
            }
            let ours = if self.whose == Whose::Ours { End::Opener } else { End::Acceptor };
            let port = u16::try_from(40_000 + state.wires.len()).unwrap_or(u16::MAX);
            let wire = state.establish((Ipv4Addr::LOCALHOST, port).into(), address, ours);
            // That it can be written to is how a runtime learns that the handshake is over.
            state.wires[wire].io(End::Opener).is_writable = true;
            if let Some(backlog) = state.listeners.get_mut(&address) {
                backlog.waiting.push_back(wire);
            }
            state.queue_listener(address);
            Ok(wire)
        });
        match established {
            Ok(wire) => Answer::Established(SimSocket::new(self.net.clone(), wire, End::Opener)),
            Err(answer) => answer,
        }
    }
}

impl Connect for SimConnector {
    type Socket = SimSocket;

    /// Established or refused after one turn of the runtime. A listener that refuses new connections does not answer:
    /// the kernel asks again, and is refused once the listener is closed.
    async fn connect(&self, endpoint: &Endpoint) -> Result<SimSocket, IoFault> {
        let mut wait = FIRST_RETRANSMISSION;
        loop {
            tokio::task::yield_now().await;
            match self.try_connect(endpoint.address()) {
                Answer::Established(socket) => return Ok(socket),
                Answer::Refused => return Err(IoFault { op: Op::Connect, errno: Errno::ECONNREFUSED }),
                Answer::Ignored => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
    }
}
