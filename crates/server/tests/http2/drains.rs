//! How connections of HTTP/2 end in a drain, frame by frame.

use bytes::Bytes;
use h2::Reason;
use sheave_lifecycle::drain::DrainReport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::frames::{GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM, Raw, get};
use crate::rig::{Client, OK, config, play, whole};

#[test]
fn the_end_is_announced_and_requests_that_cross_it_are_served() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&get(1, "/after/200")).await;
        rig.sleep(10).await;
        rig.server.drain();
        let announced = raw.until(GOAWAY).await;
        assert_eq!((announced.number(0), announced.number(4)), ((1 << 31) - 1, NO_ERROR));
        let ping = raw.until(PING).await;
        raw.write(&get(3, "/after/100")).await;
        raw.pong(&ping).await;
        let last = raw.until(GOAWAY).await;
        assert_eq!((last.number(0), last.number(4)), (3, NO_ERROR));
        // What comes after it knew is not served, and it knows that, too.
        raw.write(&get(5, "/hello")).await;
        let answered: Vec<_> = raw.all().await.iter().filter(|it| it.kind == HEADERS).map(|it| it.stream).collect();
        assert_eq!(answered, [3, 1]);
    });
    assert_eq!(known.exchanges.len(), 2);
    assert_eq!(known.report, DrainReport { told: 1, finished: 1, ..DrainReport::default() });
}

#[test]
fn whoever_does_not_hear_it_is_refused_once_that_is_long_ago() {
    let mut config = config();
    config.drain.grace = std::time::Duration::from_secs(5);
    let known = play(&config, |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&get(1, "/after/3000")).await;
        rig.sleep(10).await;
        rig.server.drain();
        rig.sleep(500).await;
        raw.write(&get(3, "/after/10")).await;
        rig.sleep(1000).await;
        raw.write(&get(5, "/hello")).await;
        let reset = raw.until(RST_STREAM).await;
        assert_eq!((reset.stream, reset.number(0)), (5, u32::from(Reason::REFUSED_STREAM)));
        let frames = raw.all().await;
        assert!(frames.iter().any(|it| it.stream == 1 && it.ends_stream()), "{frames:?}");
        assert!(frames.iter().any(|it| it.kind == GOAWAY), "{frames:?}");
    });
    assert_eq!(known.exchanges.len(), 2);
    assert_eq!(known.report.finished, 1);
}

#[test]
fn every_stream_that_is_cut_off_is_counted() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let mut responses = Vec::new();
        for path in ["/never", "/never", "/after/100", "/half-never"] {
            responses.push(client.start(Client::request("GET", path), true).await.0);
        }
        let (upload, mut body) = client.start(Client::request("POST", "/echo"), false).await;
        body.send_data(Bytes::from_static(b"some"), false).unwrap();
        rig.sleep(1).await;
        rig.server.drain();
        let mut statuses = Vec::new();
        for response in responses {
            statuses.push(whole(response).await.map(|it| it.status).map_err(|error| error.reason()));
        }
        let cancelled = Err(Some(Reason::CANCEL));
        assert_eq!(statuses, [cancelled, cancelled, Ok(OK), Ok(404)]);
        assert_eq!(whole(upload).await.map(drop).map_err(|error| error.reason()), Err(Some(Reason::CANCEL)));
        drop(body);
        client.driver.await.unwrap().unwrap();
    });
    assert_eq!(known.ends, ["drain-forced in response"]);
    assert_eq!(known.report, DrainReport { told: 1, forced: 1, lost: 3, ..DrainReport::default() });
}

#[test]
fn a_connection_that_has_said_nothing_is_no_obstacle() {
    let known = play(&config(), |rig| async move {
        let mut silent = rig.connect().await;
        let mut half = rig.connect().await;
        half.write_all(crate::frames::PREFACE).await.unwrap();
        rig.sleep(1).await;
        rig.server.drain();
        let before = Instant::now();
        for socket in [&mut silent, &mut half] {
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.unwrap();
        }
        assert!(before.elapsed().as_millis() < 150);
    });
    assert_eq!(known.report, DrainReport { told: 2, waited: 2, ..DrainReport::default() });
}
