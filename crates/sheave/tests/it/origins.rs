//! What the pools know of origins, shown to the operator.

use std::io::Write;

use crate::support::{Client, Origin, Sheave, read_head};

#[test]
fn the_operator_sees_what_was_learned_and_who_is_down() {
    let origin = Origin::new(|mut stream| {
        while !read_head(&stream).is_empty() {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let nobody = Origin::nobody();
    let mut sheave = Sheave::proxy(&[origin.address, nobody], &["--workers=1"]);
    let mut client = Client::connect(sheave.address());
    for _ in 0..3 {
        client.ask("/");
        assert_eq!(client.response().text(), "ok");
    }
    let page: serde_json::Value = serde_json::from_slice(&Client::get(sheave.admin(), "/origins").body).expect("JSON");
    let of = |address: std::net::SocketAddr| {
        let list = page["origins"].as_array().expect("a list");
        list.iter().find(|state| state["address"] == address.to_string()).expect("each is there").clone()
    };
    let up = of(origin.address);
    // The last response may be here before its connection is parked.
    let connections = [&up["parked"], &up["busy"]].map(|count| count.as_u64().expect("a number"));
    assert_eq!((connections.iter().sum::<u64>(), &up["waiting"]), (1, &0.into()), "{up}");
    assert_eq!(up["keep_alive"], "closes at 5.0 s (as it says), reused below 4.0 s");
    let down = of(nobody);
    assert!(down["connect_failures"].as_u64() > Some(0) && down["failure"] == "upstream-connect-refused", "{down}");
    let metrics = Client::get(sheave.admin(), "/metrics");
    let line = format!("sheave_origin_keep_alive_seconds{{address=\"{}\"}} 5\n", origin.address);
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    assert!(metrics.text().ends_with("# EOF\n"));
    drop(client);
    assert_eq!(sheave.end(), Some(0), "{:#?}", sheave.said);
}
