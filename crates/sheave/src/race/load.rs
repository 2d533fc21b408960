//! Load in waves: all clients at once, then a pause. The pauses are swept around the moment at which the origin closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::score::Score;

/// How far around the origin's moment the pauses are swept, both ways.
const REACH: Duration = Duration::from_millis(3);

/// In how many steps.
const STEPS: u32 = 12;

/// What is driven where, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Where the proxy is.
    pub(crate) proxy: SocketAddr,
    /// How many clients there are.
    pub(crate) connections: usize,
    /// How long the origin keeps idle connections.
    pub(crate) idle_close: Duration,
    /// For how long requests begin.
    pub(crate) lasts: Duration,
}

impl Load {
    /// Drives the load to its end.
    pub(crate) async fn drive(&self, score: &Arc<Score>) {
        let until = Instant::now() + self.lasts;
        let mut clients: Vec<Client> = (0..self.connections).map(|_| Client::new(self.proxy)).collect();
        let mut wave = 0;
        while Instant::now() < until {
            let asking: Vec<_> = clients
                .drain(..)
                .enumerate()
                .map(|(number, mut client)| {
                    let score = Arc::clone(score);
                    tokio::spawn(async move {
                        let method = method_of(wave, number);
                        let outcome = client.ask(method, &format!("{wave}.{number}")).await;
                        score.add(method, outcome);
                        client
                    })
                })
                .collect();
            for client in asking {
                // A client that panicked is gone; its request counts for nothing.
                clients.extend(client.await.ok());
            }
            tokio::time::sleep(pause_after(wave, self.idle_close)).await;
            wave += 1;
        }
    }
}

/// Three GETs, a PUT and a POST, shifted with each wave so that every client sends all of them.
const fn method_of(wave: u64, client: usize) -> usize {
    match (wave % 5 + client as u64) % 5 {
        0 => 2,
        1 => 1,
        _ => 0,
    }
}

/// Of so many pauses one ends around the origin's moment; the others are short, as between the requests of a busy client.
const CYCLE: u64 = 5;

/// How long a busy client pauses.
const SHORT: Duration = Duration::from_millis(3);

fn pause_after(wave: u64, idle_close: Duration) -> Duration {
    if wave % CYCLE != CYCLE - 1 {
        return SHORT.min(idle_close / 10);
    }
    let step = u32::try_from(wave / CYCLE % u64::from(STEPS + 1)).unwrap_or(0);
    (idle_close + REACH * 2 * step / STEPS).saturating_sub(REACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_swept_around_the_moment() {
        let idle = Duration::from_millis(50);
        let pauses: Vec<Duration> = (0..14 * CYCLE).map(|wave| pause_after(wave, idle)).collect();
        let (near, short): (Vec<Duration>, _) = pauses.into_iter().partition(|pause| *pause > SHORT);
        assert!(short == [SHORT; 14 * 4]);
        let near: Vec<u128> = near.iter().map(Duration::as_micros).collect();
        assert_eq!((near[0], near[6], near[12], near[13]), (47_000, 50_000, 53_000, 47_000));
        assert!(near[..13].is_sorted());
        assert_eq!(pause_after(CYCLE - 1, Duration::from_millis(1)), Duration::ZERO, "no pause is negative");
    }

    #[test]
    fn every_client_sends_every_method() {
        for client in 0..7 {
            let mut counts = [0; 3];
            (0..10).for_each(|wave| counts[method_of(wave, client)] += 1);
            assert_eq!(counts, [6, 2, 2]);
        }
    }
}
