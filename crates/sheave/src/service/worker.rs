//! A thread with a runtime of its own. Nothing but messages passes between workers.

use std::io;
use std::sync::mpsc;
use std::thread;

use sheave_lifecycle::drain::DrainReport;
use tokio::runtime;

/// Told when a worker has ended: with what became of its connections, or with nothing if it panicked.
pub(crate) type Ended = Box<dyn FnOnce(Option<DrainReport>) + Send>;

/// Starts a worker, and returns once it works.
///
/// `begin` runs within the worker's runtime and returns what the worker does until its end.
///
/// # Errors
///
/// No room for a thread or a runtime, or what `begin` says.
pub(crate) fn start<F, W>(name: String, begin: F, ended: Ended) -> io::Result<()>
where
    F: FnOnce() -> io::Result<W> + Send + 'static,
    W: Future<Output = DrainReport>,
{
    let (begun, has_begun) = mpsc::sync_channel(1);
    thread::Builder::new().name(name).spawn(move || {
        let mut end = End { ended: Some(ended), report: None };
        let runtime = match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                end.ended = None;
                let _ = begun.send(Err(error));
                return;
            }
        };
        end.report = runtime.block_on(async {
            match begin() {
                Ok(work) => {
                    let _ = begun.send(Ok(()));
                    Some(work.await)
                }
                Err(error) => {
                    end.ended = None;
                    let _ = begun.send(Err(error));
                    None
                }
            }
        });
        // A name lookup may hang in the system's resolver for longer than anybody wants to wait.
        runtime.shutdown_background();
    })?;
    has_begun.recv().unwrap_or_else(|_| Err(io::Error::other("the worker panicked")))
}

/// Tells the end however it comes.
struct End {
    ended: Option<Ended>,
    report: Option<DrainReport>,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(self.report.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> (Ended, mpsc::Receiver<Option<DrainReport>>) {
        let (tell, told) = mpsc::channel();
        (Box::new(move |report| tell.send(report).expect("is heard")), told)
    }

    #[test]
    fn tells_its_end_with_its_report() {
        let (tell, told) = ended();
        let report = DrainReport { told: 7, ..DrainReport::default() };
        start("test".to_owned(), move || Ok(async move { report }), tell).expect("starts");
        assert_eq!(told.recv(), Ok(Some(report)));
    }

    #[test]
    fn says_why_it_did_not_begin() {
        let (tell, told) = ended();
        let error = start(
            "test".to_owned(),
            || Err::<std::future::Pending<DrainReport>, _>(io::ErrorKind::AddrInUse.into()),
            tell,
        );
        assert_eq!(error.map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
        assert!(told.recv().is_err(), "it had not begun, so it has no end");
    }

    #[test]
    fn a_panic_is_an_end_without_a_report() {
        let (tell, told) = ended();
        let work = || Ok(async { panic!("on purpose") });
        start("test".to_owned(), work, tell).expect("starts");
        assert_eq!(told.recv(), Ok(None));
    }
}
