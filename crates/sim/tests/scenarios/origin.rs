//! A scripted origin: answers as its scenario says, and refuses to understand what is not a proper request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::socket::SimSocket;

use crate::catalogue::{BadEnd, Scenario, interim, response, stray};
use crate::messages;
use crate::talk::Talk;

/// Between the two parts of a response that is streamed.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);
/// How long an origin that closes idle connections waits for the next request.
const IDLE: Duration = Duration::from_millis(5);

/// Serves every connection that comes, until it is dropped. All in one task, so that nothing is left of it then.
pub(crate) async fn serve(net: SimNet, mut listener: SimListener, scenario: Arc<Scenario>) {
    let mut connections: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    loop {
        let socket = {
            let mut next = pin!(listener.accept());
            poll_fn(|cx| {
                connections.retain_mut(|connection| connection.as_mut().poll(cx).is_pending());
                next.as_mut().poll(cx)
            })
            .await
        };
        connections.push(Box::pin(answer(net.clone(), socket, scenario.clone())));
    }
}

/// Answers the requests of one connection, one after the other.
async fn answer(net: SimNet, socket: SimSocket, scenario: Arc<Scenario>) {
    let mut talk = Talk::new(socket);
    let mut answered = 0;
    let mut has_told_interim = false;
    loop {
        let stream = messages::requests(&talk.received);
        if let Some(why) = stream.broken {
            net.broken(format!("an origin was sent what is no request: {why}"));
            return;
        }
        let Some(request) = stream.messages.get(answered) else {
            if talk.has_ended {
                return;
            }
            let known = talk.received.len();
            talk.say(&[], |received| received.len() > known).await;
            continue;
        };
        let Some(place) = request.exchange_of_target() else {
            net.broken(format!("an origin was asked for {}", request.start_line));
            return;
        };
        let Some(exchange) = scenario.exchanges.get(place) else {
            net.broken(format!("an origin was asked for exchange {place}, which nobody asked for"));
            return;
        };
        let wants_content = exchange.expects_continue && !request.is_whole();
        let interims = exchange.interim.or(wants_content.then_some(100));
        if let Some(status) = interims
            && !has_told_interim
        {
            has_told_interim = true;
            talk.write(&interim(status)).await;
            continue;
        }
        if !exchange.is_early && !request.is_whole() {
            if talk.has_ended {
                return;
            }
            let known = talk.received.len();
            talk.say(&[], |received| received.len() > known).await;
            continue;
        }
        let bytes = response(place, exchange);
        let (begin, rest) = bytes.split_at(if exchange.is_streamed { bytes.len() - 3 } else { bytes.len() });
        talk.write(begin).await;
        if exchange.is_streamed {
            tokio::time::sleep(PAUSE).await;
            talk.write(rest).await;
        }
        answered += 1;
        has_told_interim = false;
        match exchange.bad_end {
            BadEnd::None => {}
            BadEnd::Stray => talk.write(stray(exchange.bad_end)).await,
            BadEnd::Timeout | BadEnd::Close => {
                let known = talk.received.len();
                let next = talk.say(&[], |received| received.len() > known);
                if tokio::time::timeout(IDLE, next).await.is_err() {
                    talk.write(stray(exchange.bad_end)).await;
                    return;
                }
            }
        }
        if exchange.origin_closes {
            // RFC 9112 §9.6: reads on, so that an RST does not destroy the answer.
            talk.shut();
            talk.listen_to_the_end().await;
            return;
        }
    }
}
