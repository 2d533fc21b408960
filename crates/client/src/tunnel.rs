//! Connections that carry another protocol from their first byte: what a CONNECT asks for.

use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::dial::Connect;
use sheave_net::endpoint::Endpoint;

use crate::call::Call;
use crate::error::{CallError, ClientError};
use crate::pool::Pool;

impl<C: Connect> Pool<C> {
    /// A new connection to the first of `endpoints` that answers, as a tunnel: nothing is written on it but what is sent
    /// through it, and it is never parked. RFC 9110 §9.3.6
    ///
    /// It counts among the pool's connections, so that their caps, their queue and the wait after failures hold for it.
    ///
    /// # Errors
    /// [`ClientError::Pool`], as for [`Self::connect`]; failures to connect are told to the observer when they happen.
    ///
    /// # Cancel safety
    /// As for [`Self::connect`].
    pub async fn tunnel(&self, endpoints: &[Endpoint]) -> Result<Call<C::Socket>, ClientError> {
        let call = self.connect(endpoints, Reuse::Never).await?;
        let progress = call.progress();
        call.into_tunnel().map_err(|error: CallError| ClientError::Call(error, progress))
    }
}
