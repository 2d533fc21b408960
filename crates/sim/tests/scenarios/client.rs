//! A scripted client: asks what its scenario says on one connection, and believes what it is told.

use std::sync::Arc;
use std::time::Duration;

use sheave_net::dial::Connect;
use sheave_sim::net::SimNet;
use tokio::time::{sleep, timeout};

use crate::catalogue::{Exchange, Scenario, request_content, request_head};
use crate::messages::{self, Stream};
use crate::settings::{FRONT, PATIENCE};
use crate::talk::Talk;

/// Between the pieces of an upload.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a client waits for a 100 before it sends its content all the same. RFC 9110 §10.1.1
const CONTINUE_PATIENCE: Duration = Duration::from_millis(50);

/// Connects, plays its share of `scenario`, and closes.
pub(crate) async fn play(net: SimNet, scenario: Arc<Scenario>, which: usize) {
    let Ok(Ok(socket)) = timeout(PATIENCE, net.client().connect(&FRONT.into())).await else { return };
    let exchanges = scenario.share(which).map(|place| (place, scenario.exchanges[place])).collect();
    let mut client = Client { talk: Talk::new(socket), exchanges };
    if scenario.is_pipelined {
        client.ask_all_at_once().await;
    } else {
        client.ask_one_by_one().await;
    }
}

struct Client {
    talk: Talk,
    /// Each with its place in the scenario.
    exchanges: Vec<(usize, Exchange)>,
}

impl Client {
    fn methods(&self) -> Vec<String> {
        self.exchanges.iter().map(|(_, exchange)| exchange.method.to_owned()).collect()
    }

    fn responses(&self) -> Stream {
        messages::responses(&self.talk.received, &self.methods(), self.talk.has_ended)
    }

    async fn ask_all_at_once(&mut self) {
        let exchanges = self.exchanges.iter();
        let bytes: Vec<u8> = exchanges
            .flat_map(|(place, it)| [request_head(*place, it), request_content(*place, it)].concat())
            .collect();
        let methods = self.methods();
        let count = methods.len();
        let has_all = move |received: &[u8]| finished(received, &methods) == count;
        let _ = timeout(PATIENCE, self.talk.say(&bytes, has_all)).await;
        self.leave(count).await;
    }

    async fn ask_one_by_one(&mut self) {
        for (answered, (place, exchange)) in self.exchanges.clone().into_iter().enumerate() {
            if exchange.think > 0 {
                sleep(Duration::from_millis(exchange.think)).await;
            }
            if timeout(PATIENCE, self.ask(answered, place, &exchange)).await.is_err() {
                return;
            }
            if self.leave(answered + 1).await {
                return;
            }
        }
    }

    /// Asks, after so many answers, and waits for the next.
    async fn ask(&mut self, answered: usize, place: usize, exchange: &Exchange) {
        let methods = self.methods();
        let is_answered = move |received: &[u8]| finished(received, &methods) > answered;
        let mut bytes = request_head(place, exchange);
        let content = request_content(place, exchange);
        if exchange.expects_continue {
            let methods = self.methods();
            let may_go_on = move |received: &[u8]| {
                let stream = messages::responses(received, &methods, false);
                let after =
                    stream.messages.iter().skip_while(|message| finals_before(&stream, message.begin) < answered);
                after.count() > 0
            };
            let _ = timeout(CONTINUE_PATIENCE, self.talk.say(&bytes, may_go_on)).await;
            bytes.clear();
            if is_answered(&self.talk.received) {
                // It was refused: the content is not sent, and the server knows that it may not be.
                return;
            }
        }
        if exchange.upload_step == 0 {
            bytes.extend(content);
        } else {
            self.talk.write(&bytes).await;
            for piece in content.chunks(exchange.upload_step) {
                sleep(PAUSE).await;
                let says_close =
                    self.responses().finals().nth(answered).is_some_and(|response| !response.keeps_alive());
                if says_close {
                    // RFC 9112 §9.5: who sees an early answer that closes stops sending.
                    break;
                }
                self.talk.write(piece).await;
            }
            bytes.clear();
        }
        self.talk.say(&bytes, is_answered).await;
    }

    /// After so many answers: listens to the end if the last of them is the last. Whether it was.
    async fn leave(&mut self, answers: usize) -> bool {
        let stream = self.responses();
        let last = stream.finals().nth(answers - 1);
        let goes_on = last.is_some_and(|response| response.is_whole() && response.keeps_alive());
        if goes_on && !self.talk.has_ended {
            return false;
        }
        let _ = timeout(PATIENCE, self.talk.listen_to_the_end()).await;
        true
    }
}

/// How many final responses are whole.
fn finished(received: &[u8], methods: &[String]) -> usize {
    messages::responses(received, methods, false).finals().filter(|response| response.is_whole()).count()
}

fn finals_before(stream: &Stream, begin: usize) -> usize {
    stream.finals().filter(|response| response.begin < begin).count()
}
