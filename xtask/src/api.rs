//! What the libraries promise: their public items, as recorded in `api/`, and whose types are among them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{command, workspace};

/// The crates whose public items are recorded: those that others use, and those whose types they show.
const LIBRARIES: &[&str] = &[
    "sheave-lifecycle",
    "sheave-proto",
    "sheave-net",
    "sheave-server",
    "sheave-client",
    "sheave-proxy",
    "sheave-tower",
];

/// Other people's crates whose types any library may show: a new major version of one is a new one of ours.
const SHARED: &[&str] = &["http", "bytes", "http_body", "tower_service", "rustls_pki_types"];

/// What a library shows beyond them, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("sheave-net", "tokio", "sockets and the clock are the runtime's"),
    ("sheave-server", "tokio", "a tunnel is a stream of the runtime, and a file one of its own"),
    ("sheave-client", "tokio", "a tunnel is a stream of the runtime"),
    ("sheave-server", "futures_core", "bodies are streams, and are made of them"),
    ("sheave-client", "futures_core", "bodies are streams, and are made of them"),
    ("sheave-client", "serde_core", "only with the feature `json`, whose whole point it is"),
    ("sheave-tower", "hyper", "only with the feature `hyper`, whose whole point it is"),
];

/// What is asked of the chore.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Record what differs.
    pub(crate) accept: bool,
}

/// Holds the public items against what is recorded, and the crates that they name against those that they may name; says
/// what differs. `false` when something does, or may not be.
pub(crate) fn run(options: Options) -> Result<bool> {
    let listings = listings()?;
    let mut is_fine = true;
    let mut used = BTreeSet::new();
    for (library, items) in &listings {
        for (line, foreign) in items.iter().filter_map(|line| foreign(line).map(|foreign| (line, foreign))) {
            match EXCEPTIONS.iter().find(|exception| exception.0 == *library && exception.1 == foreign) {
                Some(exception) => {
                    used.insert(exception);
                }
                None => {
                    println!("api: {library} shows {foreign}, whose every major version would be one of ours: {line}");
                    is_fine = false;
                }
            }
        }
        is_fine &= compare(library, items, options)?;
    }
    for (library, foreign, why) in EXCEPTIONS.iter().filter(|exception| !used.contains(exception)) {
        println!("api: {library} does not show {foreign} any more ({why}): take that out of xtask/src/api.rs");
        is_fine = false;
    }
    if is_fine {
        let items: usize = listings.iter().map(|(_, items)| items.len()).sum();
        println!("api: {} libraries, {items} public items, as recorded", listings.len());
    }
    Ok(is_fine)
}

/// Says what differs from the record, or records it.
fn compare(library: &str, items: &[String], options: Options) -> Result<bool> {
    let path = workspace::root().join("api").join(format!("{library}.txt"));
    let recorded = fs::read_to_string(&path).unwrap_or_default();
    let (gone, new) = difference(&recorded, items);
    if gone.is_empty() && new.is_empty() {
        return Ok(true);
    }
    gone.iter().for_each(|line| println!("api: {library}: - {line}"));
    new.iter().for_each(|line| println!("api: {library}: + {line}"));
    if options.accept {
        fs::create_dir_all(path.parent().unwrap_or(&path)).context("cannot make the folder api/")?;
        fs::write(&path, items.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(true);
    }
    println!(
        "api: {library} differs; `cargo xtask api --accept` records it. What is gone or changed breaks its users."
    );
    Ok(false)
}

/// Lines that are recorded alone, and lines that are new.
fn difference<'a>(recorded: &'a str, items: &'a [String]) -> (Vec<&'a str>, Vec<&'a str>) {
    let before: BTreeSet<&str> = recorded.lines().collect();
    let now: BTreeSet<&str> = items.iter().map(String::as_str).collect();
    (before.difference(&now).copied().collect(), now.difference(&before).copied().collect())
}

/// A crate that a line names, and that is neither ours nor shared.
fn foreign(line: &str) -> Option<&str> {
    named(line).find(|name| {
        // `&str::into_reply` is how a trait's function is named that a primitive has.
        let is_std = matches!(*name, "core" | "alloc" | "std" | "str");
        !is_std && !SHARED.contains(name) && !LIBRARIES.iter().any(|library| library.replace('-', "_") == **name)
    })
}

/// The crates that a line names: what stands before the first `::` of each path.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    line.match_indices("::").filter_map(move |(at, _)| {
        let word = line[..at].bytes().rev().take_while(|byte| is_word(*byte)).count();
        let (before, name) = line[..at].split_at(at - word);
        let is_first = !before.ends_with("::") && !before.ends_with('\'');
        // Types and parameters begin with a capital; what has none is a crate.
        (is_first && name.starts_with(|first: char| first.is_ascii_lowercase())).then_some(name)
    })
}

/// The public items of each library, sorted.
fn listings() -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut doc = workspace::cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--all-features", "--lib"]);
    doc.env("RUSTDOC", unstable_rustdoc()?);
    doc.env("RUSTDOCFLAGS", "-Zunstable-options --output-format=json --cap-lints=allow");
    println!("$ {}", command::line(&doc));
    ensure!(command::succeeds(&mut doc)?, "the libraries cannot be described; the compiler's words stand above");
    LIBRARIES.iter().map(|library| Ok((*library, items(library)?))).collect()
}

fn items(library: &str) -> Result<Vec<String>> {
    let path = workspace::target_dir().join("doc").join(library.replace('-', "_")).with_extension("json");
    let api = public_api::Builder::from_rustdoc_json(&path)
        .omit_blanket_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .with_context(|| format!("{} cannot be read: is this the Rust of Cargo.toml?", path.display()))?;
    let mut items: Vec<String> = api.items().map(ToString::to_string).filter(|line| is_telling(line)).collect();
    items.sort();
    items.dedup();
    Ok(items)
}

/// Whether a line is no implementation that the compiler derives for nearly everything. That a type is not `Send` or
/// `Sync` is worth a line.
fn is_telling(line: &str) -> bool {
    const MARKERS: [&str; 7] = [
        "core::marker::Send for",
        "core::marker::Sync for",
        "core::marker::Unpin for",
        "core::marker::Freeze for",
        "core::marker::UnsafeUnpin for",
        "core::panic::unwind_safe::RefUnwindSafe for",
        "core::panic::unwind_safe::UnwindSafe for",
    ];
    let is_marker = line.starts_with("impl") && MARKERS.iter().any(|marker| line.contains(marker));
    !is_marker || line.contains("!core::marker::Send") || line.contains("!core::marker::Sync")
}

/// A rustdoc that may describe crates in JSON. The permission is its alone: compilers that had it would build all anew.
fn unstable_rustdoc() -> Result<PathBuf> {
    let path = workspace::target_dir().join("tools").join("unstable-rustdoc");
    let script = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";
    if !is_there(&path, script) {
        let wrote = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        };
        wrote().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

fn is_there(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|found| found == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_found_in_lines() {
        for (line, expected) in [
            ("pub fn sheave_net::clock::Clock::now(&self) -> sheave_lifecycle::time::Time", None),
            ("pub fn sheave_net::a::b(tokio::net::tcp::TcpStream)", Some("tokio")),
            ("impl<S: sheave_net::socket::Socket> h2::Thing for sheave_server::a::B<S>", Some("h2")),
            ("pub fn a(&'static core::str, S::Item, <S as core::iter::Iterator>::Item)", None),
            ("pub fn sheave_client::a(http::uri::Uri, bytes::bytes::Bytes) -> T::Error", None),
            ("impl !core::marker::Sync for sheave_net::x::Y", None),
            ("pub fn &'static str::into_reply(self)", None),
        ] {
            assert_eq!(foreign(line), expected, "{line}");
        }
        assert_eq!(named("a::b::C<d::E>").collect::<Vec<_>>(), ["a", "d"]);
    }

    #[test]
    fn lines_that_differ_are_told_from_both_sides() {
        let items = ["b".to_owned(), "c".to_owned()];
        assert_eq!(difference("a\nb\n", &items), (vec!["a"], vec!["c"]));
        assert_eq!(difference("b\nc\n", &items), (vec![], vec![]));
    }

    #[test]
    fn what_every_type_is_is_left_out() {
        for (line, expected) in [
            ("impl core::marker::Send for sheave_net::a::B", false),
            ("impl<S> core::marker::Sync for sheave_net::a::B<S> where S: core::marker::Sync", false),
            ("impl !core::marker::Send for sheave_net::a::B", true),
            ("impl core::fmt::Debug for sheave_net::a::B", true),
            ("pub fn a(core::marker::PhantomData<()>)", true),
        ] {
            assert_eq!(is_telling(line), expected, "{line}");
        }
    }
}
