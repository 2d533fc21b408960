//! Runs a plan in its world, and holds all laws to it.

use std::sync::PoisonError;

use sheave_sim::laws::{self, Violation};
use sheave_sim::plan::Plan;
use sheave_sim::run::{Record, run};

use crate::caller::Diary;
use crate::catalogue::{self, Scenario};
use crate::handler::SCRIPTED_PANIC;
use crate::http_laws;
use crate::settings::{LAW, Settings};
use crate::tunnel;
use crate::worlds;

/// The scenarios of a world, as plans name them; those that are too long for a fault at every byte, if `with_long`.
pub(crate) fn scenarios(world: &str, with_long: bool) -> Vec<String> {
    if world == "tunnel" {
        return tunnel::scenarios();
    }
    let suits = |scenario: &&Scenario| scenario.worlds.contains(&world) && (with_long || !scenario.is_long);
    catalogue::ALL.iter().filter(suits).map(|scenario| format!("{world}/{}", scenario.name)).collect()
}

/// Runs `plan`, and says which laws it broke.
pub(crate) fn judge(plan: &Plan) -> (Record, Vec<Violation>) {
    let (world, name) = plan.scenario.split_once('/').expect("a scenario is named by its world and its messages");
    fastrand::seed(plan.seed);
    if world == "tunnel" {
        return tunnel::judge(plan, name, Settings::of(plan, &catalogue::scenario("get")));
    }
    let scenario = catalogue::scenario(name);
    let diary = Diary::default();
    let settings = Settings::of(plan, &scenario);
    let mut record = match world {
        "server" => run(plan, |net| worlds::server(net, scenario.clone(), settings)),
        "relay" => run(plan, |net| worlds::relay(net, scenario.clone(), settings)),
        _ => run(plan, |net| worlds::calls(net, scenario.clone(), diary.clone(), settings)),
    };
    let heard = std::mem::take(&mut *diary.lock().unwrap_or_else(PoisonError::into_inner));
    // A handler that panics by its script is no news.
    record.broken.retain(|text| !text.contains(SCRIPTED_PANIC));
    let mut violations = laws::check(&record, &LAW);
    violations.extend(http_laws::check(&record, &scenario, &heard));
    (record, violations)
}
