//! The process's logs: warnings on standard error, and the access log where one is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::both::Both;
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::policy::Policy;
use sheave_metrics::shard::Shard;
use tracing::Level;

use crate::access_log::{AccessLog, Format, LogTarget};
use crate::args::Logging;
use crate::exit::Failure;
use crate::lifecycle_log::LifecycleLog;
use crate::sink::{Counts, LogFile, Sink, StandardStream};

/// How long the end waits for a destination that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process's logs.
pub(crate) struct Logs {
    errors: Sink,
    ends: LifecycleLog,
    access: Option<Access>,
}

struct Access {
    sink: Sink,
    format: Format,
    name: String,
}

impl Logs {
    /// Opens them, and makes standard error the place for what this process has to say.
    ///
    /// # Errors
    ///
    /// A line that says which destination cannot be opened, and what to do.
    pub(crate) fn open(arguments: &Logging, workers: usize) -> Result<Self, Failure> {
        // Opened first: what is wrong with it is the operator's to see before anything runs.
        let access = match &arguments.access_log {
            LogTarget::Off => None,
            LogTarget::Output => {
                let output = StandardStream::output()?;
                let sink = Sink::start("access-log", workers, output, complain).map_err(no_thread)?;
                Some(Access { sink, format: arguments.access_log_format, name: "standard output".to_owned() })
            }
            LogTarget::File(path) => {
                let file = LogFile::open(path)?;
                let sink = Sink::start("access-log", workers, file, complain).map_err(no_thread)?;
                Some(Access { sink, format: arguments.access_log_format, name: path.display().to_string() })
            }
        };
        // Nobody is left to complain to about standard error.
        let errors = Sink::start("error-log", 1, StandardStream::error()?, |_: &str| {}).map_err(no_thread)?;
        let lines = errors.lines(0);
        let level = if arguments.quiet { Level::WARN } else { Level::INFO };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_target(false)
            .with_writer(move || lines.clone())
            .finish();
        // Fails only if there is one already; then that one has the say.
        let _ = tracing::subscriber::set_global_default(subscriber);
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(tracing::field::display);
            let what = panic.payload_as_str().unwrap_or("a panic without words");
            tracing::error!(at, what, "this is a bug of sheave's: please report it");
        }));
        let policy = if arguments.strict { Policy::Strict } else { Policy::Production };
        Ok(Self { errors, ends: LifecycleLog::new(policy), access })
    }

    /// Who listens to the connections of a worker.
    pub(crate) fn observer(&self, worker: usize, metrics: Arc<Shard>) -> Arc<dyn Observer> {
        match &self.access {
            Some(access) => {
                let log = AccessLog::new(access.sink.lines(worker), access.format);
                Arc::new(Both(metrics, Both(log, self.ends.of_another_worker())))
            }
            None => Arc::new(Both(metrics, self.ends.of_another_worker())),
        }
    }

    /// How many connections ended in a way that the policy calls a failure.
    pub(crate) fn failures(&self) -> u64 {
        self.ends.failures()
    }

    /// What to call the access log, if there is one.
    pub(crate) fn access_log(&self) -> Option<&str> {
        self.access.as_ref().map(|access| access.name.as_str())
    }

    /// A view of what became of its lines.
    pub(crate) fn access_counter(&self) -> Option<Box<dyn Fn() -> Counts + Send + Sync>> {
        let access = self.access.as_ref()?;
        Some(Box::new(access.sink.counter()))
    }

    /// Opens files anew, after they were rotated.
    pub(crate) fn reopen(&self) {
        if let Some(access) = &self.access {
            access.sink.reopen();
        }
    }

    /// Writes out what waits; waits a little for destinations that take nothing.
    pub(crate) fn close(self) {
        if let Some(access) = self.access {
            let counts = access.sink.close(PATIENCE);
            if counts.dropped > 0 {
                tracing::warn!(lines = counts.dropped, "lines of the access log were lost");
            }
        }
        self.errors.close(PATIENCE);
    }
}

fn complain(what: &str) {
    tracing::warn!("access log: {what}");
}

fn no_thread(error: io::Error) -> Failure {
    Failure::start(format!("cannot start a thread for the logs: {error}; raise the limit on processes (ulimit -u)"))
}
