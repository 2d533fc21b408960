//! The laws can fail: what breaks one rule is caught, in the run in which it shows and in no calm one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sheave_net::dial::Connect;
use sheave_sim::laws;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::run;

use crate::caller::Diary;
use crate::catalogue::{self, Scenario};
use crate::client;
use crate::http_laws;
use crate::messages::{self, Message};
use crate::origin;
use crate::settings::{FRONT, LAW, ORIGIN, Settings};
use crate::talk::Talk;
use crate::worlds;

/// The rule that a relay breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    /// It counts what it got of a response, and says that this is all.
    CompletesWhatIsTruncated,
    /// It never says `Connection: close`.
    IgnoresDrain,
    /// It answers with the response to the request before.
    AnswersLate,
    /// It sends whatever fails once more.
    RetriesAnything,
}

/// Relays one client's requests to an origin, each on a connection of its own, and its answers back.
async fn relay(net: SimNet, scenario: Arc<Scenario>, flaw: Flaw) {
    let origin = tokio::spawn(origin::serve(net.clone(), net.listen(ORIGIN), scenario.clone()));
    let mut listener = net.listen(FRONT);
    let is_draining = Arc::new(AtomicBool::new(false));
    net.on_drain({
        let is_draining = is_draining.clone();
        move || is_draining.store(true, Ordering::Relaxed)
    });
    let client = tokio::spawn(client::play(net.clone(), scenario, 0));
    let mut talk = Talk::new(listener.accept().await);
    let mut answered = 0;
    let mut last = None;
    while let Some(request) = next_request(&mut talk, answered).await {
        let Some(mut answer) = answer(&net, &request, flaw).await else { break };
        let says_close = is_draining.load(Ordering::Relaxed) && flaw != Flaw::IgnoresDrain;
        let ours = format!("Content-Length: {}\r\n", answer.content.len());
        answer.head.push_str(&ours);
        answer.head.push_str(if says_close { "Connection: close\r\n\r\n" } else { "\r\n" });
        let before = last.replace(answer.clone());
        let sent = if flaw == Flaw::AnswersLate { before.unwrap_or(answer) } else { answer };
        talk.write((sent.head + &sent.content).as_bytes()).await;
        answered += 1;
        if says_close {
            talk.shut();
            talk.listen_to_the_end().await;
            break;
        }
    }
    drop(talk);
    let _ = client.await;
    origin.abort();
    let _ = origin.await;
}

/// The bytes of the next request, and its method; `None` when there is none.
async fn next_request(talk: &mut Talk, answered: usize) -> Option<(Vec<u8>, String)> {
    loop {
        let asked = messages::requests(&talk.received);
        if let Some(request) = asked.messages.get(answered)
            && let Some(end) = request.end
        {
            return Some((talk.received[request.begin..end].to_vec(), request.method().to_owned()));
        }
        if talk.has_ended {
            return None;
        }
        let known = talk.received.len();
        talk.say(&[], |received| received.len() > known).await;
    }
}

#[derive(Clone)]
struct Answer {
    /// Without framing, and without the empty line.
    head: String,
    content: String,
}

/// What the relay answers; `None` when it can only give up.
async fn answer(net: &SimNet, request: &(Vec<u8>, String), flaw: Flaw) -> Option<Answer> {
    let mut got = ask(net, request).await;
    if !got.1 && flaw == Flaw::RetriesAnything {
        got = ask(net, request).await;
    }
    let (answer, is_whole) = got;
    if !is_whole && flaw != Flaw::CompletesWhatIsTruncated {
        return None;
    }
    let text = String::from_utf8(answer).ok()?;
    let (head, content) = text.split_once("\r\n\r\n")?;
    let lines = head.split("\r\n").filter(|line| !line.starts_with("Content-Length"));
    let head = lines.flat_map(|line| [line, "\r\n"]).collect();
    Some(Answer { head, content: content.to_owned() })
}

/// What an origin answers, and whether that is all of it.
async fn ask(net: &SimNet, (request, method): &(Vec<u8>, String)) -> (Vec<u8>, bool) {
    let Ok(socket) = net.connector().connect(&ORIGIN.into()).await else { return (Vec::new(), false) };
    let mut talk = Talk::new(socket);
    let methods = [method.clone()];
    let is_whole = |received: &[u8]| messages::responses(received, &methods, false).finals().any(Message::is_whole);
    talk.say(request, is_whole).await;
    let is_all = is_whole(&talk.received);
    (talk.received, is_all)
}

/// The numbers of the laws of messages that a run of `name` breaks, once each. Those of the observer are left out: these
/// relays have none.
fn broken_laws(name: &str, faults: &str, flaw: Flaw) -> Vec<u8> {
    let plan: Plan = format!("broken/{name} {faults}").parse().expect("a plan of the tests below");
    let scenario = catalogue::scenario(name);
    let record = run(&plan, |net| relay(net, scenario.clone(), flaw));
    let mut laws: Vec<u8> = http_laws::check(&record, &scenario, &[]).iter().map(|violation| violation.law).collect();
    laws.retain(|law| *law != 2);
    laws.sort_unstable();
    laws.dedup();
    laws
}

#[test]
fn a_relay_without_flaw_breaks_no_law() {
    for faults in ["", "origin1.in@47=fin", "client1.in@10=drain", "origin1.out@20=rst"] {
        assert_eq!(broken_laws("get", faults, Flaw::None), [0_u8; 0], "{faults}");
    }
}

#[test]
fn law_3_can_fail() {
    assert_eq!(broken_laws("get", "", Flaw::AnswersLate), [3]);
}

/// Without its check before reuse, a pool hands out what its origin has closed.
#[test]
fn law_5_can_fail() {
    for (check_before_reuse, expected) in [(true, None), (false, Some(5))] {
        let scenario = catalogue::scenario("closed");
        let plan = Plan::calm("client/closed");
        let mut settings = Settings::of(&plan, &scenario);
        settings.client.check_before_reuse = check_before_reuse;
        let record = run(&plan, |net| worlds::calls(net, scenario, Diary::default(), settings));
        let broken = laws::check(&record, &LAW);
        assert_eq!(broken.first().map(|violation| violation.law), expected, "{broken:?}\n{}", record.trace);
    }
}

#[test]
fn law_6_can_fail() {
    assert_eq!(broken_laws("get", "", Flaw::IgnoresDrain), [0_u8; 0]);
    assert_eq!(broken_laws("get", "client1.in@10=drain", Flaw::IgnoresDrain), [6]);
}

#[test]
fn law_7_can_fail() {
    assert_eq!(broken_laws("post", "", Flaw::RetriesAnything), [0_u8; 0]);
    assert_eq!(broken_laws("get", "origin1.in@20=fin", Flaw::RetriesAnything), [0_u8; 0], "a GET may be sent again");
    assert_eq!(broken_laws("post", "origin1.in@20=fin", Flaw::RetriesAnything), [7]);
}

#[test]
fn law_11_can_fail() {
    assert_eq!(broken_laws("get", "", Flaw::CompletesWhatIsTruncated), [0_u8; 0]);
    for fault in ["fin", "rst"] {
        let faults = format!("origin1.in@46={fault}");
        assert_eq!(broken_laws("get", &faults, Flaw::CompletesWhatIsTruncated), [11], "{fault}");
    }
}
