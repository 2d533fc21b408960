//! The command: two readings, some time apart, and what they say.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sheave_client::client::Client;

use super::change::Change;
use super::findings::{Watched, Weight, time};
use super::kernel::Kernel;
use super::numbers::Numbers;
use crate::address::{Host, OriginAddress};
use crate::args::ExplainArguments;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::say;

/// How long one page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Watches a process, and prints where its bottleneck is.
///
/// # Errors
///
/// A line that says why there is nothing to go by: nobody answers, or somebody else does.
pub(crate) async fn run(arguments: &ExplainArguments) -> Result<Exit, Failure> {
    let client = Client::builder().timeout(Some(PAGE_TIMEOUT)).build();
    let client = client.map_err(|error| Failure::start(format!("cannot make a client: {error}")))?;
    let began = Instant::now();
    let kernel = kernel_of(&arguments.admin);
    let before = numbers(&client, &arguments.admin).await?;
    say::error(format_args!("watching {} for {} …", arguments.admin, duration::display(arguments.watch)));
    tokio::time::sleep(arguments.watch).await;
    let after = numbers(&client, &arguments.admin).await?;
    let Some(change) = Change::between(&before, &after, began.elapsed().as_secs_f64()) else {
        return Err(Failure::start("the process was replaced meanwhile: ask again".to_owned()));
    };
    let watched = Watched { change, kernel: kernel.zip(kernel_of(&arguments.admin)) };
    say::output(report(&watched));
    Ok(Exit::Drained)
}

async fn numbers(client: &Client, admin: &OriginAddress) -> Result<Numbers, Failure> {
    let url = format!("{admin}/metrics");
    let nobody = |error| {
        Failure::start(format!("{url} cannot be read: {error}; is the process there, with --admin at this address?"))
    };
    let page = client.get(&url).send().await.map_err(nobody)?.text().await.map_err(nobody)?;
    Numbers::read(&page)
        .ok_or_else(|| Failure::start(format!("{url} is no page of sheave's: give its --admin address")))
}

/// The kernel under the process, if that is the one under us.
fn kernel_of(admin: &OriginAddress) -> Option<Kernel> {
    let is_here = match &admin.host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name == "localhost",
    };
    is_here.then(Kernel::read).flatten()
}

fn report(watched: &Watched<'_>) -> String {
    let (change, requests) = (&watched.change, watched.requests());
    let mut text = format!(
        "{:.0} requests a second over {:.1} s; {} workers, {:.0} % busy; {} client connections, {} to origins",
        requests / change.secs,
        change.secs,
        watched.workers(),
        watched.busy() * 100.0,
        change.now("sheave_connections_live", &[("side", "downstream")]),
        change.now("sheave_connections_live", &[("side", "upstream")]),
    );
    let whole = "sheave_request_duration_seconds";
    if let (Some(mean), Some(most)) = (change.mean(whole), change.quantile(whole, 0.99)) {
        let _ = write!(text, "\na request takes {}, 99 % at most {}", time(mean), time(most));
    }
    if let Some(origins) = change.mean("sheave_upstream_response_duration_seconds") {
        let _ = write!(text, "; the origins' part, to the response's head, is {}", time(origins));
    }
    let findings = watched.findings();
    text += match findings.first().map(|first| first.weight) {
        Some(Weight::Limit) => "\n\nthe bottleneck:",
        _ if requests == 0.0 => "\n\nno request came: watch it under the load that is to be explained",
        _ => "\n\nnothing here keeps requests waiting: for more, there must be more load",
    };
    for (index, finding) in findings.iter().enumerate() {
        let has_a_bottleneck = findings[0].weight == Weight::Limit;
        if index == usize::from(has_a_bottleneck) {
            text += "\nalso:";
        }
        let _ = write!(text, "\n  {finding}");
    }
    text
}
