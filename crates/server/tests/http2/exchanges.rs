//! Requests and responses of every shape, by a good client.

use bytes::Bytes;
use http::HeaderMap;

use crate::rig::{Client, OK, config, play, rest, whole};

#[test]
fn requests_of_every_shape_are_answered_and_told_of() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let hello = client.get("/hello").await.unwrap();
        assert_eq!((hello.status, hello.body.as_slice()), (OK, &b"hello"[..]));
        assert!(hello.fields.contains_key("date") && !hello.fields.contains_key("connection"));
        assert_eq!(hello.fields["content-length"], "5");
        assert_eq!(client.get("/who").await.unwrap().body, b"GET o HTTP/2 2");
        for path in ["/204", "/304", "/empty"] {
            assert_eq!(client.get(path).await.unwrap().body, b"", "{path}");
        }
        let (response, _) = client.start(Client::request("HEAD", "/hello"), true).await;
        let head = whole(response).await.unwrap();
        assert_eq!((head.fields["content-length"].as_bytes(), head.body.len()), (&b"5"[..], 0));
        let (response, mut body) = client.start(Client::request("POST", "/echo"), false).await;
        body.send_data(Bytes::from_static(b"some "), false).unwrap();
        body.send_data(Bytes::from_static(b"content"), false).unwrap();
        let trailers: HeaderMap =
            [("x-a", "1"), ("x-b", "2")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).into_iter().collect();
        body.send_trailers(trailers).unwrap();
        assert_eq!(whole(response).await.unwrap().body, b"some content[x-a][x-b]");
        drop(body);
        let trailed = client.get("/trailers").await.unwrap();
        assert_eq!(
            (trailed.body.as_slice(), &trailed.trailers.unwrap()["grpc-status"]),
            (&b"content"[..], &"0".parse().unwrap())
        );
        let large = client.get("/bytes/3000000").await.unwrap();
        assert_eq!(large.body.len(), 3_000_000);
        client.leave().await.unwrap();
    });
    assert_eq!(
        known.exchanges,
        [
            "1. GET /hello HTTP/2 200 origin 0>5",
            "2. GET /who HTTP/2 200 origin 0>14",
            "3. GET /204 HTTP/2 204 origin 0>0",
            "4. GET /304 HTTP/2 304 origin 0>0",
            "5. GET /empty HTTP/2 200 origin 0>0",
            "6. HEAD /hello HTTP/2 200 origin 0>0",
            "7. POST /echo HTTP/2 200 origin 12>22",
            "8. GET /trailers HTTP/2 200 origin 0>7",
            "9. GET /bytes/3000000 HTTP/2 200 origin 0>3000000",
        ]
    );
    assert_eq!(known.ends, ["peer-closed in idle"]);
    assert_eq!((known.moved.len(), known.moved[0], known.moved[1]), (18, "response", "idle"));
}

#[test]
fn content_goes_both_ways_at_once() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let (response, mut body) = client.start(Client::request("POST", "/both"), false).await;
        let mut incoming = response.await.unwrap().into_body();
        for round in 0..3 {
            let text = format!("round {round}");
            body.send_data(Bytes::from(text.clone()), false).unwrap();
            let piece = incoming.data().await.unwrap().unwrap();
            assert_eq!(piece, text);
        }
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(rest(&mut incoming).await.unwrap(), (vec![], None));
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges, ["1. POST /both HTTP/2 200 origin 21>21"]);
}

#[test]
fn an_upload_larger_than_every_window_arrives() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let (response, mut body) = client.start(Client::request("POST", "/echo"), false).await;
        let sending = async {
            let mut left = 3_000_000;
            while left > 0 {
                body.reserve_capacity(left.min(100_000));
                let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
                body.send_data(Bytes::from(vec![b'x'; room]), room == left).unwrap();
                left -= room;
            }
        };
        let (answer, ()) = tokio::join!(whole(response), sending);
        assert_eq!(answer.unwrap().body.len(), 3_000_000);
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges, ["1. POST /echo HTTP/2 200 origin 3000000>3000000"]);
}

#[test]
fn interim_responses_are_passed_on() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let (mut response, _) = client.start(Client::request("GET", "/hints"), true).await;
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(interim.status(), 103);
        assert_eq!(whole(response).await.unwrap().body, b"hello");
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges, ["1. GET /hints HTTP/2 200 origin 0>5"]);
}

#[test]
fn many_streams_at_once_are_served_side_by_side() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let before = tokio::time::Instant::now();
        let mut responses = Vec::new();
        for _ in 0..100 {
            responses.push(client.start(Client::request("GET", "/after/100"), true).await.0);
        }
        for response in responses {
            assert_eq!(whole(response).await.unwrap().status, OK);
        }
        assert!(before.elapsed().as_millis() < 200);
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges.len(), 100);
}
