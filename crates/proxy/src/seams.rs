//! What a proxy does around its gateway's seams, so that they can do no harm.

use sheave_net::dial::Connect;
use sheave_net::socket::Socket;
use sheave_proto::framing::{self, BodyLength};
use sheave_server::answer::Answer;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;

use crate::gateway::Gateway;
use crate::proxy::Proxy;
use crate::pump::{Held, Pump, Pumped};

impl<C: Connect, G> Proxy<C, G> {
    /// Shows a request to the gateway. Gives how its content is framed, whatever the gateway made of the fields that said so;
    /// `None` where it was answered.
    pub(crate) async fn filter_request<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        context: &mut G::Context,
    ) -> Result<Option<BodyLength>, HandlerError>
    where
        G: Gateway<S>,
    {
        let body = match framing::request_body(exchange.request()) {
            Ok(body) => body,
            Err(error) => return self.refuse(exchange, Answer::to_error(error), context).await.map(|()| None),
        };
        let was_whole = exchange.has_whole_request();
        if !was_whole {
            exchange.rest();
        }
        self.gateway.before_request(exchange, context).await?;
        if !exchange.can_answer() {
            return Ok(None);
        }
        // What is gone cannot be sent on.
        if exchange.request_bytes() > 0 || exchange.has_whole_request() != was_whole {
            return Err(HandlerError::Misuse("content-taken"));
        }
        Ok(Some(body))
    }

    /// Answers by ourselves, as the gateway sees fit.
    pub(crate) async fn refuse<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        mut answer: Answer,
        context: &mut G::Context,
    ) -> Result<(), HandlerError>
    where
        G: Gateway<S>,
    {
        exchange.note_error(answer.cause);
        self.gateway.on_error(exchange, &mut answer, context).await?;
        // Does nothing where the gateway has answered.
        exchange.answer(&answer);
        Ok(())
    }

    /// Pumps, and shows the response's head to the gateway when it is there.
    pub(crate) async fn pump<S: Socket>(
        &self,
        pump: &mut Pump<'_, '_, S, C::Socket>,
        context: &mut G::Context,
    ) -> Pumped
    where
        G: Gateway<S>,
    {
        match pump.run().await {
            Pumped::Held(held) => match self.filter_response(pump, held, context).await {
                Ok(()) if pump.exchange.has_answered() => Pumped::Done,
                Ok(()) => pump.run().await,
                Err(end) => end,
            },
            end => end,
        }
    }

    async fn filter_response<S: Socket>(
        &self,
        pump: &mut Pump<'_, '_, S, C::Socket>,
        mut held: Box<Held>,
        context: &mut G::Context,
    ) -> Result<(), Pumped>
    where
        G: Gateway<S>,
    {
        let Pump { exchange, call, .. } = pump;
        if !call.has_whole_response() {
            call.rest();
        }
        if !exchange.has_whole_request() {
            exchange.rest();
        }
        self.gateway.before_response(exchange, &mut held.head, context).await.map_err(Pumped::Client)?;
        if !exchange.can_answer() {
            return Err(Pumped::Answered);
        }
        // RFC 9110 §15.2: a client would go on waiting for the final one.
        if held.head.status().is_informational() {
            return Err(Pumped::Client(HandlerError::Misuse("interim-status")));
        }
        held.release(exchange).await
    }
}
