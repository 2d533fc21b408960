//! `sheave demo race`: from its arguments to its exit code.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::Load;
use super::progress::Progress;
use super::protections::Protections;
use super::score::Score;
use super::stage;
use super::table::{Run, Table};
use super::witness::Witness;
use crate::admin::keep_alive;
use crate::args::RaceArguments;
use crate::exit::{Exit, Failure};
use crate::fault::{Ending, Fault, Faults, FaultyOrigin};
use crate::say;

/// Runs the same load twice, with the protections on and off, and prints what came of it.
///
/// # Errors
///
/// A line that says why it could not start.
pub(crate) async fn run(arguments: &RaceArguments) -> Result<Exit, Failure> {
    sheave_net::limits::raise_file_limit();
    let mut runs = Vec::new();
    for protections in Protections::ALL {
        runs.push(race(arguments, protections).await?);
    }
    say::output(Table(&runs));
    for run in &runs {
        if let Some(learned) = run.learned.as_ref().filter(|_| run.protections == Protections::On) {
            say::output(format_args!("\nlearned: the origin {learned}"));
        }
        if !run.clients.causes.is_empty() {
            let causes = run.clients.causes.iter().map(|(cause, count)| format!("\n  {count} × {cause}"));
            say::error(format_args!(
                "\nerrors with the protections {}:{}",
                run.protections.label(),
                causes.collect::<String>()
            ));
        }
    }
    let is_clean = runs.iter().filter(|run| run.protections == Protections::On).all(Run::is_clean);
    Ok(if is_clean { Exit::Drained } else { Exit::Lost })
}

async fn race(arguments: &RaceArguments, protections: Protections) -> Result<Run, Failure> {
    let ending = if arguments.reset { Ending::Reset } else { Ending::Fin };
    let mut faults = vec![Fault::Idle(arguments.idle_close, ending)];
    faults.extend(arguments.jitter.map(Fault::Jitter));
    let faults = Faults::new(&faults).map_err(Failure::usage)?;
    let origin = FaultyOrigin::new(faults);
    let witness = Arc::new(Witness::default());
    let score = Arc::new(Score::default());
    let (at, _origin_lives) = stage::start_origin(origin.clone()).map_err(|error| cannot_start(&error))?;
    let (proxy, _proxy_lives) =
        stage::start_proxy(at, protections, Arc::clone(&witness)).map_err(|error| cannot_start(&error))?;
    let load = Load {
        proxy: proxy.address,
        connections: usize::try_from(arguments.connections).unwrap_or(usize::MAX),
        idle_close: arguments.idle_close,
        lasts: Duration::from_secs(arguments.seconds),
    };
    drive(&load, &score, protections.label()).await;
    Ok(Run {
        protections,
        clients: score.seen(),
        proxy: witness.seen(),
        posts_twice: origin.tally().counts().seen_again("POST"),
        learned: proxy.pool.addresses().first().map(keep_alive),
    })
}

/// Drives the load, and tells how it goes on.
async fn drive(load: &Load, score: &Arc<Score>, label: &str) {
    let progress = Progress::new();
    let began = Instant::now();
    let mut driving = pin!(load.drive(score));
    loop {
        let ended = tokio::time::timeout(progress.interval(), &mut driving).await;
        progress.tell(label, began.elapsed(), load.lasts, &score.seen());
        if ended.is_ok() {
            return progress.end();
        }
    }
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::start(format!(
        "cannot start the race: {error}; raise the limits on descriptors and processes (ulimit -n, -u)"
    ))
}
