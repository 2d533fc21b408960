//! Makes connections with TLS where their endpoint asks for it.

use sheave_lifecycle::errno::IoFault;

use crate::dial::Connect;
use crate::endpoint::{Endpoint, Manner, Protocols};
use crate::secured::Alpn;
use crate::tls::stream::Stream;

/// Makes connections with TLS where [`Manner::tls`] asks for it, by ALPN with the offer that [`Manner::protocols`] names; as
/// they are otherwise.
#[derive(Clone, Copy, Default, Debug)]
pub struct TlsConnector<C> {
    connector: C,
}

impl<C> TlsConnector<C> {
    /// Connects by `connector`.
    pub const fn new(connector: C) -> Self {
        Self { connector }
    }
}

impl<C: Connect> Connect for TlsConnector<C> {
    type Socket = Stream<C::Socket>;

    async fn connect(&self, endpoint: &Endpoint) -> Result<Self::Socket, IoFault> {
        let Some(secure) = &endpoint.manner().tls else {
            return Ok(Stream::Plain(self.connector.connect(endpoint).await?));
        };
        // This part of the manner is seen to here.
        let rest = endpoint.spoken_to(Manner { tls: None, ..endpoint.manner().clone() });
        let socket = self.connector.connect(&rest).await?;
        let offer: &[Alpn] = match endpoint.manner().protocols {
            Protocols::Http1 => &[Alpn::Http1],
            Protocols::Http2 => &[Alpn::Http2],
            Protocols::Either => &[Alpn::Http2, Alpn::Http1],
        };
        Ok(secure.client.connect_offering(socket, &secure.name, offer).into())
    }
}
