//! The subcommands, each from its arguments to its exit code.

use sheave_client::total::Total;
use tokio::runtime;

use crate::address::{ListenAddress, OriginAddress, Scheme};
use crate::args::{Arguments, Command, Demonstration, OriginArguments, ProxyArguments};
use crate::banner::Passing;
use crate::config;
use crate::demo::{self, Demo};
use crate::exit::{Exit, Failure};
use crate::explain;
use crate::fault;
use crate::handover::Inherited;
use crate::http2;
use crate::lookups;
use crate::passing::PassOn;
use crate::pools::Pools;
use crate::race;
use crate::say;
use crate::service::{DESCRIPTORS_OF_AN_EXCHANGE, Process, Setup};
use crate::sockets;
use crate::tls::{self, OriginTls};
use crate::tunnels;

/// Where the admin pages are when the demo origin runs behind the proxy.
const DEMO_ADMIN_PORT: u16 = 9901;

/// Does what was asked for, with the sockets that were inherited, and says with what code to end.
///
/// # Errors
///
/// A line that says why it could not start.
pub(crate) fn run(arguments: Arguments, inherited: Inherited) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Proxy(arguments) => block_on(proxy(&arguments, inherited)),
        Command::Origin(arguments) => block_on(origin(&arguments, inherited)),
        Command::Demo(arguments) => match arguments.demo {
            Demonstration::Race(arguments) => block_on(race::run(&arguments)),
        },
        Command::Explain(arguments) => block_on(explain::run(&arguments)),
        Command::Version => {
            say::output(format_args!("sheave {}", env!("CARGO_PKG_VERSION")));
            Ok(Exit::Drained)
        }
    }
}

async fn proxy(arguments: &ProxyArguments, inherited: Inherited) -> Result<Exit, Failure> {
    config::check(&arguments.client_timeouts)?;
    config::check_origins(&arguments.origins, &arguments.origin_limits, &arguments.origin_tls)?;
    let tcp = sockets::connect(&arguments.origin_sockets, arguments.client_timeouts.write_timeout)?;
    let is_demo = arguments.origins.to.is_empty();
    let mut process = Process::prepare(Setup {
        listening: &arguments.listening,
        default_admin: is_demo.then(|| ListenAddress::loopback(DEMO_ADMIN_PORT)),
        server: http2::server(
            &arguments.http2,
            tunnels::server(
                &arguments.tunnels,
                config::server(&arguments.client_timeouts, &arguments.client_limits, &arguments.drain),
            ),
        ),
        listen: sockets::listen(&arguments.client_sockets, arguments.client_timeouts.write_timeout)?,
        client_tls: &arguments.client_tls,
        spoken: http2::spoken(&arguments.http2),
        max_connections: arguments.client_limits.max_connections,
        // The demo origin is this process, too.
        descriptors_each: DESCRIPTORS_OF_AN_EXCHANGE + u64::from(is_demo),
        logging: &arguments.logging,
        handover_timeout: arguments.drain.handover_timeout,
        inherited,
    })?;
    let mut origins = Vec::new();
    if is_demo {
        let manner = config::manner(&arguments.origins, Scheme::Http, None);
        origins.push((sheave_net::resolve::Resolved::fixed(demo::start_behind()?), String::new(), manner));
    }
    let is_secured = |origin: &OriginAddress| origin.scheme.is_secured();
    let tls = match arguments.origins.to.iter().any(is_secured) {
        true => Some(OriginTls::read(&arguments.origin_tls)?),
        false => None,
    };
    for origin in &arguments.origins.to {
        let tls = tls.as_ref().filter(|_| is_secured(origin));
        let secure = tls.map(|tls| tls::secure(tls.tls(), origin, &arguments.origin_tls)).transpose()?;
        let manner = config::manner(&arguments.origins, origin.scheme, secure);
        origins.push((lookups::keep_resolved(origin)?, origin.base.clone(), manner));
    }
    let names: Vec<_> = origins.iter().map(|(resolved, ..)| resolved.clone()).collect();
    lookups::first_of_all(&names).await;
    let passing = Passing {
        to: match origins.first() {
            Some((demo, ..)) if is_demo => vec![format!("http://{}", demo.name())],
            _ => arguments.origins.to.iter().map(ToString::to_string).collect(),
        },
        balance: arguments.origins.balance.label(),
        is_demo,
    };
    let mut in_force = config::say_clients(&arguments.client_timeouts, &arguments.client_limits);
    in_force.push(http2::say(&arguments.http2));
    in_force.extend(config::say_origins(&arguments.origin_timeouts, &arguments.origin_limits, &arguments.retries));
    in_force.extend(config::say_proxy_protocol(&arguments.listening, arguments.origins.to_proxy_protocol));
    in_force.push(tunnels::say(&arguments.tunnels));
    in_force.push(config::say_drain(&arguments.drain));
    let client = config::client(
        &arguments.client_timeouts,
        &arguments.origin_timeouts,
        &arguments.client_limits,
        &arguments.origin_limits,
        &arguments.retries,
        process.workers() as u64,
    );
    let mut role = PassOn {
        origins,
        tcp,
        proxy: tunnels::proxy(&arguments.tunnels, config::proxy(&arguments.origins, &arguments.retries)),
        client: tunnels::client(&arguments.tunnels, client),
        pools: Pools::default(),
    };
    role.client.total = Total::at_most(process.upstream_room(arguments.origin_limits.max_upstream_total));
    process.look_after(tls);
    process.run(role, Some(passing), in_force).await
}

async fn origin(arguments: &OriginArguments, inherited: Inherited) -> Result<Exit, Failure> {
    if !arguments.faults.fault.is_empty() {
        return fault::run(&arguments.faults.fault, &arguments.listening, arguments.logging.quiet).await;
    }
    config::check(&arguments.client_timeouts)?;
    let process = Process::prepare(Setup {
        listening: &arguments.listening,
        default_admin: None,
        server: http2::server(
            &arguments.http2,
            config::server(&arguments.client_timeouts, &arguments.client_limits, &arguments.drain),
        ),
        listen: sockets::listen(&arguments.client_sockets, arguments.client_timeouts.write_timeout)?,
        client_tls: &arguments.client_tls,
        spoken: http2::spoken(&arguments.http2),
        max_connections: arguments.client_limits.max_connections,
        descriptors_each: 1,
        logging: &arguments.logging,
        handover_timeout: arguments.drain.handover_timeout,
        inherited,
    })?;
    let mut in_force = config::say_clients(&arguments.client_timeouts, &arguments.client_limits);
    in_force.push(http2::say(&arguments.http2));
    in_force.extend(config::say_proxy_protocol(&arguments.listening, None));
    in_force.push(config::say_drain(&arguments.drain));
    process.run(Demo, None, in_force).await
}

/// The main thread's runtime: signals, name lookups and admin pages. Requests are the workers' business.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|error| {
        Failure::start(format!("cannot start the runtime: {error}; raise the descriptor limit (ulimit -n)"))
    })?;
    let ended = runtime.block_on(work);
    // A name lookup may hang in the system's resolver for longer than anybody wants to wait.
    runtime.shutdown_background();
    ended
}
