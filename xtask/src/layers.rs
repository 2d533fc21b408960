//! Which crate may know which: the floors of the house, and the check that no arrow leaves them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use cargo_metadata::{Dependency, DependencyKind, Package};

use crate::workspace;

/// What a crate may use outside the project.
enum Others {
    Only(&'static [&'static str]),
    Any,
}

/// One crate's row: where it stands and what it may use.
struct Room {
    crate_name: &'static str,
    /// 1 is the cellar. A crate may use lower floors only, and of those only what `ours` names.
    floor: u8,
    ours: &'static [&'static str],
    others: Others,
    must_never: &'static str,
}

const ROOMS: &[Room] = &[
    Room {
        crate_name: "sheave",
        floor: 5,
        ours: &[
            "sheave-lifecycle",
            "sheave-proto",
            "sheave-net",
            "sheave-metrics",
            "sheave-server",
            "sheave-client",
            "sheave-proxy",
        ],
        others: Others::Any,
        must_never: "the simulated network",
    },
    Room {
        crate_name: "sheave-proxy",
        floor: 4,
        ours: &["sheave-lifecycle", "sheave-proto", "sheave-net", "sheave-server", "sheave-client"],
        others: Others::Only(&["tokio", "http", "bytes", "fastrand", "smallvec", "httpdate", "ipnet"]),
        must_never: "the kernel (of net, its traits alone), metrics, tower",
    },
    Room {
        crate_name: "sheave-tower",
        floor: 4,
        ours: &["sheave-lifecycle", "sheave-net", "sheave-server", "sheave-client"],
        others: Others::Only(&["tokio", "http", "http-body", "tower-service", "hyper"]),
        must_never: "proxy, metrics; axum and tower but in tests",
    },
    Room {
        crate_name: "sheave-server",
        floor: 3,
        ours: &["sheave-lifecycle", "sheave-proto", "sheave-net"],
        others: Others::Only(&["h2", "tokio", "http", "bytes", "http-body", "futures-core"]),
        must_never: "client, metrics, proxy",
    },
    Room {
        crate_name: "sheave-client",
        floor: 3,
        ours: &["sheave-lifecycle", "sheave-proto", "sheave-net"],
        others: Others::Only(&[
            "h2",
            "tokio",
            "http",
            "http-body",
            "bytes",
            "fastrand",
            "futures-core",
            "smallvec",
            "compression-codecs",
            "serde",
            "serde_json",
        ]),
        must_never: "server, metrics, proxy",
    },
    Room {
        crate_name: "sheave-sim",
        floor: 3,
        ours: &["sheave-lifecycle", "sheave-net"],
        others: Others::Only(&["bytes", "tokio"]),
        must_never: "proto, server, client, proxy: its tests bring what runs on its wires",
    },
    Room {
        crate_name: "sheave-proto",
        floor: 2,
        ours: &["sheave-lifecycle"],
        others: Others::Only(&["http", "bytes", "httpdate", "memchr", "itoa", "smallvec"]),
        must_never: "tokio, `std::net`, clocks",
    },
    Room {
        crate_name: "sheave-net",
        floor: 2,
        ours: &["sheave-lifecycle"],
        others: Others::Only(&[
            "tokio",
            "socket2",
            "rustix",
            "nix",
            "bytes",
            "smallvec",
            "arc-swap",
            "rustls",
            "rustls-native-certs",
            "rustls-pki-types",
            "rustls-webpki",
        ]),
        must_never: "HTTP types, proto",
    },
    Room {
        crate_name: "sheave-metrics",
        floor: 2,
        ours: &["sheave-lifecycle"],
        others: Others::Only(&["prometheus-client", "hdrhistogram"]),
        must_never: "everything else",
    },
    Room {
        crate_name: "sheave-lifecycle",
        floor: 1,
        ours: &[],
        others: Others::Only(&[]),
        must_never: "HTTP, sockets, clocks, tokio, tracing",
    },
];

/// Stands beside the house: it builds and measures it, and uses no crate of it.
const CHORES: &str = "xtask";
/// The crate that nobody uses.
const BINARY: &str = "sheave";
/// The one crate that any crate's tests may use, from whatever floor, and whose own tests may use any library of ours:
/// they put servers, clients and proxies on its wires.
const SIMULATION: &str = "sheave-sim";

/// Prints a line for every arrow that the table forbids; `false` when there is one.
pub(crate) fn check() -> Result<bool> {
    let metadata = workspace::metadata()?;
    let packages: Vec<&Package> = metadata.workspace_packages();
    let wrong = wrong_arrows(&packages);
    for line in &wrong {
        println!("layers: {line}");
    }
    if wrong.is_empty() {
        let arrows: usize = packages.iter().map(|package| package.dependencies.len()).sum();
        println!("layers: {} crates, {arrows} dependencies, every one allowed", packages.len());
    } else {
        println!("layers: the table stands in xtask/src/layers.rs; changing it is an architecture decision");
    }
    Ok(wrong.is_empty())
}

/// The table as Markdown, highest floor first.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| floor | crate | may use (ours) | may use (others) | must never use |\n\
         |------:|-------|----------------|------------------|----------------|\n",
    );
    for room in ROOMS {
        let ours = listed(room.ours.iter().map(|name| short(name)));
        let others = match &room.others {
            Others::Any => "any".to_owned(),
            Others::Only(names) => listed(names.iter().copied()),
        };
        let _ = writeln!(text, "| {} | `{}` | {ours} | {others} | {} |", room.floor, room.crate_name, room.must_never);
    }
    text
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

fn short(crate_name: &str) -> &str {
    crate_name.strip_prefix("sheave-").unwrap_or(crate_name)
}

fn room(crate_name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.crate_name == crate_name)
}

/// One line an offence, in the order of the packages.
fn wrong_arrows(packages: &[&Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let present: BTreeMap<&str, &Package> = packages.iter().map(|package| (package.name.as_str(), *package)).collect();
    for (name, package) in &present {
        match room(name) {
            Some(room) => {
                let offence = |dependency| offence(room, dependency, present.contains_key(depends_on(dependency)));
                wrong.extend(package.dependencies.iter().filter_map(offence));
            }
            None if *name == CHORES => {
                let ours = package.dependencies.iter().filter(|one| present.contains_key(depends_on(one)));
                wrong.extend(ours.map(|one| format!("{CHORES} -> {}: chores use no crate of the house", one.name)));
            }
            None => wrong.push(format!("{name} has no row in the table: give it a floor, and its reason to exist")),
        }
    }
    let stale = ROOMS.iter().filter(|room| !present.contains_key(room.crate_name));
    wrong.extend(stale.map(|room| format!("{} has a row in the table but is no crate of ours", room.crate_name)));
    wrong
}

fn depends_on(dependency: &Dependency) -> &str {
    &dependency.name
}

/// Why `room` may not have this dependency, if so.
fn offence(room: &Room, dependency: &Dependency, is_ours: bool) -> Option<String> {
    let (from, to) = (room.crate_name, dependency.name.as_str());
    if let Some(rename) = &dependency.rename {
        return Some(format!("{from} -> {to}: is renamed to {rename}; dependencies keep their names"));
    }
    let only_tests = dependency.kind == DependencyKind::Development;
    if !is_ours {
        let allowed = match &room.others {
            Others::Any => true,
            Others::Only(names) => names.contains(&to),
        };
        // Tests may bring any crate: nobody who uses ours inherits it.
        let fine = only_tests || allowed;
        return (!fine).then(|| format!("{from} -> {to}: not among the crates that {from} may use"));
    }
    if only_tests {
        let below = self::room(to).is_some_and(|other| other.floor < room.floor);
        let on_its_wires = from == SIMULATION && to != BINARY;
        let fine = below || to == SIMULATION || on_its_wires;
        return (!fine).then(|| format!("{from} -> {to} (dev): tests may use lower floors and {SIMULATION} only"));
    }
    (!room.ours.contains(&to)).then(|| match self::room(to) {
        Some(other) if other.floor >= room.floor => {
            format!("{from} (floor {}) -> {to} (floor {}): arrows point down", room.floor, other.floor)
        }
        _ => format!("{from} -> {to}: below it, but not among the crates that {from} may use"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package as `cargo metadata` tells it; a dependency is `name`, `name (dev)` or `name as other`.
    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies: Vec<serde_json::Value> = dependencies.iter().map(|text| dependency(text)).collect();
        serde_json::from_value(serde_json::json!({
            "name": name, "version": "0.1.0", "id": format!("path+file:///x/{name}#0.1.0"),
            "dependencies": dependencies, "targets": [], "features": {},
            "manifest_path": format!("/x/{name}/Cargo.toml"),
        }))
        .unwrap()
    }

    fn dependency(text: &str) -> serde_json::Value {
        let (text, kind) = text.strip_suffix(" (dev)").map_or((text, None), |name| (name, Some("dev")));
        let (name, rename) = text.split_once(" as ").map_or((text, None), |(name, other)| (name, Some(other)));
        serde_json::json!({
            "name": name, "req": "*", "kind": kind, "rename": rename, "optional": false,
            "uses_default_features": true, "features": [],
        })
    }

    /// The offences of one crate in an otherwise empty house with all its rooms.
    fn offences(crate_name: &str, dependencies: &[&str]) -> Vec<String> {
        let mut packages: Vec<Package> = ROOMS
            .iter()
            .filter(|room| room.crate_name != crate_name)
            .map(|room| package(room.crate_name, &[]))
            .collect();
        packages.push(package(crate_name, dependencies));
        wrong_arrows(&packages.iter().collect::<Vec<_>>())
    }

    #[test]
    fn allowed_arrows() {
        let none: [&str; 0] = [];
        assert_eq!(offences("sheave-proto", &["sheave-lifecycle", "http", "sheave-sim (dev)", "proptest (dev)"]), none);
        assert_eq!(offences("sheave", &["sheave-metrics", "sheave-proxy", "clap"]), none);
        assert_eq!(offences("sheave-sim", &["sheave-net", "sheave-proto (dev)", "sheave-proxy (dev)"]), none);
        assert_eq!(offences("xtask", &["anyhow"]), none);
    }

    #[test]
    fn forbidden_arrows() {
        for (from, to, why) in [
            ("sheave-lifecycle", "http", "not among the crates that sheave-lifecycle may use"),
            ("sheave-lifecycle", "sheave-proto", "arrows point down"),
            ("sheave-proto", "httparse", "not among"),
            ("sheave-proto", "sheave-net", "arrows point down"),
            ("sheave-server", "sheave-client", "arrows point down"),
            ("sheave-server", "sheave-client (dev)", "lower floors and sheave-sim only"),
            ("sheave-server", "sheave-metrics", "below it, but not among"),
            ("sheave-proxy", "sheave-metrics", "below it, but not among"),
            ("sheave-sim", "sheave-proto", "below it, but not among"),
            ("sheave-sim", "sheave-proxy", "arrows point down"),
            ("sheave-sim", "sheave (dev)", "lower floors and sheave-sim only"),
            ("sheave", "sheave-sim", "below it, but not among"),
            ("sheave-net", "bytes as octets", "keep their names"),
            ("xtask", "sheave-net", "chores use no crate"),
            ("sheave-extra", "bytes", "has no row"),
        ] {
            let found = offences(from, &[to]);
            assert!(found.len() == 1 && found[0].contains(why), "{from} -> {to}: {found:?}");
        }
    }

    #[test]
    fn a_row_without_a_crate_is_told() {
        let found = wrong_arrows(&[]);
        assert_eq!(found.len(), ROOMS.len());
    }

    #[test]
    fn the_table_itself_points_down() {
        for room in ROOMS {
            for name in room.ours {
                let other = super::room(name).unwrap();
                assert!(other.floor < room.floor, "{} -> {name}", room.crate_name);
            }
        }
    }
}
