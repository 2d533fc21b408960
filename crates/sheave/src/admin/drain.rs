//! The drain as the admin pages show it, and as they are asked for one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use sheave_lifecycle::drain::{DrainPhase, DrainPlan, DrainReport};
use sheave_lifecycle::handover::Stage;
use sheave_net::balance::Loads;
use sheave_net::clock::Clock;
use sheave_net::drain::{Drain, Urgency};
use tokio::sync::mpsc::UnboundedSender;

use crate::json::Object;
use crate::lifetime::Event;

/// How far the process is from its end. Clones are the same.
#[derive(Clone)]
pub(crate) struct DrainView(Arc<Inner>);

struct Inner {
    drains: Vec<Drain>,
    loads: Loads,
    plan: DrainPlan,
    clock: Clock,
    events: UnboundedSender<Event>,
    standing: Mutex<Standing>,
}

/// How the process stands to its successor.
#[derive(Clone, Copy, Debug)]
struct Standing {
    stage: Stage,
    successor: Option<u32>,
}

impl DrainView {
    /// A view of these workers' drains, which go by `plan` and are asked for through `events`.
    pub(crate) fn new(
        drains: Vec<Drain>,
        loads: Loads,
        plan: DrainPlan,
        clock: Clock,
        events: UnboundedSender<Event>,
    ) -> Self {
        let standing = Mutex::new(Standing { stage: Stage::Serving, successor: None });
        Self(Arc::new(Inner { drains, loads, plan, clock, events, standing }))
    }

    /// The process stands otherwise to its successor.
    pub(crate) fn stands(&self, stage: Stage) {
        self.standing().stage = stage;
    }

    /// The process was handed over to that one.
    pub(crate) fn handed_over_to(&self, pid: u32) {
        self.standing().successor = Some(pid);
    }

    /// How the process stands to its successor.
    pub(crate) fn stage(&self) -> Stage {
        self.standing().stage
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.drains.iter().any(Drain::is_draining)
    }

    /// Asks for a drain, for a client that may.
    ///
    /// # Errors
    ///
    /// A status, and a sentence that says why it may not.
    pub(crate) fn ask(&self, peer: Option<SocketAddr>, has_origin: bool) -> Result<(), (StatusCode, &'static str)> {
        if !peer.is_some_and(|peer| peer.ip().is_loopback()) {
            return Err((
                StatusCode::FORBIDDEN,
                "a drain can be asked for from this machine's loopback address only\n",
            ));
        }
        if has_origin {
            return Err((StatusCode::FORBIDDEN, "a drain cannot be asked for by a web page\n"));
        }
        self.begin("POST /drain");
        Ok(())
    }

    /// Begins a drain, in the name of whoever wants it.
    pub(crate) fn begin(&self, by: &'static str) {
        // Nobody listens any more only when the process is ending anyway.
        let _ = self.0.events.send(Event::DrainAsked(by));
    }

    /// The page.
    pub(crate) fn page(&self) -> Vec<u8> {
        let now = self.0.clock.now();
        let first = self.0.drains.first();
        let clock = first.and_then(Drain::clock);
        let phase = match (first.map(Drain::urgency), clock) {
            (Some(Urgency::Forced), _) => DrainPhase::Forcing,
            (_, Some(clock)) => clock.phase(now),
            _ => DrainPhase::Running,
        };
        let mut report = DrainReport::default();
        self.0.drains.iter().for_each(|drain| report.add(drain.report()));
        let standing = *self.standing();
        let mut out = Vec::new();
        let mut page = Object::begin(&mut out);
        page.number("pid", std::process::id().into())
            .text("state", phase.label())
            .text("stage", standing.stage.label())
            .number("live", self.0.loads.total() as u64);
        if let Some(successor) = standing.successor {
            page.number("successor", successor.into());
        }
        if let Some(clock) = clock {
            page.number("since_ms", millis(now.since(clock.started())));
        }
        let DrainReport { told, finished, waited, forced, lost } = report;
        let mut object = Object::begin(page.key("report"));
        object
            .number("told", told)
            .number("finished", finished)
            .number("waited", waited)
            .number("forced", forced)
            .number("lost", lost);
        object.end();
        let plan = clock.map_or(self.0.plan, |clock| *clock.plan());
        let mut object = Object::begin(page.key("plan"));
        object
            .number("announce_ms", millis(plan.announce))
            .number("quiet_ms", millis(plan.quiet))
            .number("grace_ms", millis(plan.grace));
        object.end();
        page.end();
        out.push(b'\n');
        out
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::drain::Fate;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn view() -> (DrainView, Vec<Drain>, UnboundedReceiver<Event>) {
        let drains = vec![Drain::default(), Drain::default()];
        let (events, heard) = unbounded_channel();
        let view = DrainView::new(drains.clone(), Loads::new(2), DrainPlan::default(), Clock::start(), events);
        (view, drains, heard)
    }

    #[test]
    fn shows_what_has_become_of_whom() {
        let (view, drains, _heard) = view();
        let page = |view: &DrainView| String::from_utf8(view.page()).expect("UTF-8");
        let expected = format!(
            "{{\"pid\":{},\"state\":\"running\",\"stage\":\"serving\",\"live\":0,\
             \"report\":{{\"told\":0,\"finished\":0,\"waited\":0,\"forced\":0,\"lost\":0}},\
             \"plan\":{{\"announce_ms\":0,\"quiet_ms\":200,\"grace_ms\":30000}}}}\n",
            std::process::id()
        );
        assert_eq!(page(&view), expected);
        let clock = view.0.clock;
        drains.iter().for_each(|drain| drain.start(view.0.plan, clock.now()));
        drains[0].count(Fate::Finished);
        drains[1].count(Fate::Forced { is_lost: true });
        view.stands(Stage::HandedOver);
        view.handed_over_to(42);
        let text = page(&view);
        for part in [
            "\"state\":\"waiting\",\"stage\":\"handed-over\"",
            "\"successor\":42,\"since_ms\":",
            "\"told\":2,\"finished\":1,\"waited\":0,\"forced\":1,\"lost\":1",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        drains[0].force(clock.now());
        assert!(page(&view).contains("\"state\":\"forcing\""));
    }

    #[test]
    fn only_this_machine_may_ask_and_no_web_page() {
        let (view, _drains, mut heard) = view();
        for (peer, has_origin, may) in [
            (Some("127.0.0.1:4000"), false, true),
            (Some("[::1]:4000"), false, true),
            (Some("127.0.0.1:4000"), true, false),
            (Some("192.0.2.1:4000"), false, false),
            (None, false, false),
        ] {
            let peer = peer.map(|peer| peer.parse().expect(peer));
            assert_eq!(view.ask(peer, has_origin).is_ok(), may, "{peer:?} {has_origin}");
            assert_eq!(heard.try_recv().is_ok(), may);
        }
    }
}
