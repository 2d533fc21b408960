//! What is tried against every origin: one function a check, one table of them.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::base::{Base, Speaks};
use super::curl::{Curl, Said};
use super::files::{Files, Sample};
use super::load;
use super::origins::{Offers, Upload};

/// Where the checks knock, and what must be behind.
pub(super) struct Target<'a> {
    /// The proxy, or the origin itself.
    pub(super) base: Base,
    pub(super) files: &'a Files,
    pub(super) offers: &'a Offers,
    /// No proxy is in between.
    pub(super) direct: bool,
    /// Long checks are made, too, and with the largest files.
    pub(super) with_long: bool,
}

impl Target<'_> {
    fn biggest(&self) -> Sample {
        if self.with_long { self.offers.biggest } else { self.offers.biggest.min(Sample::Large) }
    }
}

/// One check: its name, the origins and clients that it fits, and the doing. It returns what was seen, for the table.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// It takes seconds, and tells nothing new of another way to speak to the same proxy.
    pub(super) is_long: bool,
    pub(super) fits: fn(&Offers, Speaks) -> bool,
    pub(super) run: fn(&Target<'_>) -> Result<String>,
}

pub(super) const CHECKS: &[Check] = &[
    quick("GET", |_, _| true, |to| download(to, Sample::Small)),
    quick("HEAD", |_, _| true, head),
    quick("GET of what is not there", |_, _| true, not_found),
    quick("two URLs on one connection", |_, speaks| curl_reuses(speaks), kept_alive),
    quick("HTTP/1.0 client", |_, speaks| !speaks.is_h2(), http_1_0),
    quick("range and condition", |offers, speaks| offers.ranges && curl_reuses(speaks), range_and_condition),
    quick("big download", |_, _| true, big_download),
    quick("aborted download", |_, _| true, aborted_download),
    quick("upload of a file", |offers, _| offers.upload.is_some(), |to| upload(to, &[])),
    quick("upload, chunked", |offers, _| offers.upload.is_some(), |to| upload(to, &[CHUNKED])),
    // curl waits for no 100 over HTTP/2.
    quick(
        "upload, Expect: 100-continue",
        |offers, speaks| offers.upload.is_some() && offers.continues && !speaks.is_h2(),
        expect_continue,
    ),
    quick("big upload, chunked", |offers, _| offers.upload.is_some(), big_upload),
    quick("echo while still sending", |offers, _| offers.echoes, echo),
    quick("a slow response is not held back", |offers, _| offers.drips, drip),
    quick("103 Early Hints", |offers, _| offers.hints, early_hints),
    long("wrk", |_, speaks| !speaks.is_h2(), wrk),
    quick("h2load", |_, _| true, h2load),
    long("POST as the origin gives up waiting", |offers, _| offers.counts_posts, reuse_race),
];

/// curl 7.88 sends a second request on a connection of prior knowledge as if it were the first, which it cannot be.
const fn curl_reuses(speaks: Speaks) -> bool {
    !matches!(speaks, Speaks::H2c)
}

type Fits = fn(&Offers, Speaks) -> bool;
type Run = fn(&Target<'_>) -> Result<String>;

const fn quick(name: &'static str, fits: Fits, run: Run) -> Check {
    Check { name, is_long: false, fits, run }
}

const fn long(name: &'static str, fits: Fits, run: Run) -> Check {
    Check { name, is_long: true, fits, run }
}

const CHUNKED: &str = "Transfer-Encoding: chunked";
const CONTINUE: &str = "Expect: 100-continue";

fn download(to: &Target<'_>, sample: Sample) -> Result<String> {
    let said = Curl::new().url(to.base, &path(sample)).hashed()?;
    same_file(to, &said, sample)?;
    let rate = sample.len_bytes() as f64 / said.only()?.total_secs / f64::from(1 << 20);
    Ok(if sample.len_bytes() > 1 << 20 {
        format!("{}, {rate:.0} MiB/s", sample.size())
    } else {
        sample.size().to_owned()
    })
}

fn path(sample: Sample) -> String {
    format!("/files/{}", sample.name())
}

/// The status is 200 and the body is the file, byte for byte.
fn same_file(to: &Target<'_>, said: &Said, sample: Sample) -> Result<()> {
    let answer = said.only()?;
    status(answer.status, 200)?;
    let spoken = to.base.speaks.version();
    ensure!(
        answer.version == spoken || answer.version == "1",
        "HTTP/{} was spoken instead of {spoken}",
        answer.version
    );
    let (got, expected) = (answer.body_len, sample.len_bytes());
    ensure!(got == expected, "{got} bytes of body instead of {expected}");
    ensure!(said.body == to.files.digest(sample), "the body's digest is {} instead of the file's", said.body);
    Ok(())
}

fn status(got: u64, expected: u64) -> Result<()> {
    ensure!(got == expected, "status {got} instead of {expected}");
    Ok(())
}

fn head(to: &Target<'_>) -> Result<String> {
    let said = Curl::new().arg("--head").arg("--output").arg("/dev/null").url(to.base, &path(Sample::Small)).text()?;
    status(said.only()?.status, 200)?;
    if !to.offers.knows_lengths {
        return Ok("200".to_owned());
    }
    // RFC 9110 §8.6: in a response to HEAD it is the length that GET would have.
    let expected = format!("content-length: {}\n", Sample::Small.len_bytes());
    ensure!(said.heads.to_lowercase().contains(&expected), "no `{}` in:\n{}", expected.trim(), said.heads);
    Ok("200, Content-Length kept".to_owned())
}

fn not_found(to: &Target<'_>) -> Result<String> {
    let said = Curl::new().url(to.base, "/files/absent").text()?;
    status(said.only()?.status, 404)?;
    Ok("404 of the origin".to_owned())
}

fn kept_alive(to: &Target<'_>) -> Result<String> {
    let (small, medium) = (path(Sample::Small), path(Sample::Medium));
    // The second URL's body follows the first's, both to the same digest: the lengths tell them apart.
    let said = Curl::new().url(to.base, &small).url(to.base, &medium).hashed()?;
    let [first, second] = said.answers.as_slice() else { anyhow::bail!("{} answers to two URLs", said.answers.len()) };
    status(first.status, 200)?;
    status(second.status, 200)?;
    ensure!(first.body_len == Sample::Small.len_bytes(), "first body: {} bytes", first.body_len);
    ensure!(second.body_len == Sample::Medium.len_bytes(), "second body: {} bytes", second.body_len);
    let connects = first.connects + second.connects;
    // A proxy keeps its client's connection even where the origin closes its own after each response.
    let expected = if to.direct && !to.offers.keeps_alive { 2 } else { 1 };
    ensure!(connects == expected, "{connects} connections instead of {expected}");
    Ok(format!("{connects} connection{}", if connects == 1 { "" } else { "s" }))
}

fn http_1_0(to: &Target<'_>) -> Result<String> {
    let said = Curl::new().url(to.base, &path(Sample::Medium)).arg("--http1.0").hashed()?;
    same_file(to, &said, Sample::Medium)?;
    // RFC 9112 §6.1: a server must not send Transfer-Encoding to HTTP/1.0.
    ensure!(!said.heads.to_lowercase().contains("transfer-encoding"), "Transfer-Encoding in:\n{}", said.heads);
    Ok(Sample::Medium.size().to_owned())
}

fn range_and_condition(to: &Target<'_>) -> Result<String> {
    let part = Curl::new().arg("--range").arg("100-199").url(to.base, &path(Sample::Small)).hashed()?;
    status(part.only()?.status, 206)?;
    ensure!(part.only()?.body_len == 100, "{} bytes instead of 100", part.only()?.body_len);
    let etag = part.heads.lines().find_map(|line| line.to_lowercase().strip_prefix("etag: ").map(str::to_owned));
    let etag = etag.context("the origin sent no ETag")?;
    // A 304 has no body whatever its fields say; the next response on the connection shows that nothing was left over.
    let condition = format!("If-None-Match: {etag}");
    let small = path(Sample::Small);
    let said = Curl::new().header(&condition).url(to.base, &small).url(to.base, &small).text()?;
    for answer in &said.answers {
        status(answer.status, 304)?;
    }
    Ok("206, 304 twice".to_owned())
}

fn big_download(to: &Target<'_>) -> Result<String> {
    download(to, to.biggest())
}

fn aborted_download(to: &Target<'_>) -> Result<String> {
    for _ in 0..3 {
        Curl::new().url(to.base, &path(to.biggest())).abort_after(1 << 20)?;
    }
    download(to, Sample::Small).context("after the aborted ones")?;
    Ok("3 cut after 1 MiB, next one whole".to_owned())
}

fn upload(to: &Target<'_>, headers: &[&str]) -> Result<String> {
    send(to, Sample::Medium, headers)?;
    Ok(Sample::Medium.size().to_owned())
}

/// Uploads a sample and sees to it that exactly it arrived.
fn send(to: &Target<'_>, sample: Sample, headers: &[&str]) -> Result<Said> {
    let upload = to.offers.upload.context("this origin takes no uploads")?;
    let file = to.files.path(sample);
    // Without an Expect line of ours curl adds one to large bodies: an empty one takes it out.
    let mut curl = if headers.contains(&CONTINUE) { Curl::new() } else { Curl::new().header("Expect:") };
    curl = headers.iter().fold(curl, |curl, line| curl.header(line));
    match upload {
        Upload::Digest => {
            let body = format!("@{}", file.display());
            let said = curl.arg("--data-binary").arg(body).url(to.base, "/digest").text()?;
            status(said.only()?.status, 200)?;
            let expected = format!("{} {}", to.files.digest(sample), sample.len_bytes());
            ensure!(said.body == expected, "the origin received `{}` instead of `{expected}`", said.body);
            Ok(said)
        }
        Upload::Put => {
            let stored = "/put/uploaded.bin";
            let said = curl.arg("--upload-file").arg(&file).url(to.base, stored).text()?;
            let code = said.only()?.status;
            ensure!(code == 201 || code == 204, "PUT was answered with {code} instead of 201 or 204");
            let back = Curl::new().url(to.base, stored).hashed()?;
            same_file(to, &back, sample).context("what was stored")?;
            Ok(said)
        }
    }
}

fn expect_continue(to: &Target<'_>) -> Result<String> {
    let said = send(to, Sample::Medium, &[CONTINUE])?;
    // RFC 9110 §10.1.1. curl sends the body unasked after a second: only the interim head shows that it was asked for.
    ensure!(said.heads.starts_with("HTTP/1.1 100"), "no 100 (Continue) came before the final head:\n{}", said.heads);
    Ok("100, then the body".to_owned())
}

fn big_upload(to: &Target<'_>) -> Result<String> {
    let said = send(to, Sample::Large, &[CHUNKED])?;
    let rate = Sample::Large.len_bytes() as f64 / said.only()?.total_secs / f64::from(1 << 20);
    Ok(format!("{}, {rate:.0} MiB/s", Sample::Large.size()))
}

fn echo(to: &Target<'_>) -> Result<String> {
    let curl = Curl::new().header("Expect:").header(CHUNKED).arg("--request").arg("POST");
    let said = curl.arg("--upload-file").arg(to.files.path(Sample::Large)).url(to.base, "/echo").hashed()?;
    same_file(to, &said, Sample::Large)?;
    Ok(format!("{} there and back", Sample::Large.size()))
}

/// What `/drip` sends, in all.
pub(super) const DROPS: &str = "drop 0\ndrop 1\ndrop 2\ndrop 3\ndrop 4\n";

fn drip(to: &Target<'_>) -> Result<String> {
    let said = Curl::new().url(to.base, "/drip").text()?;
    ensure!(said.body == DROPS, "the body is {:?} instead of five drops", said.body);
    let answer = said.only()?;
    let (first, total) = (answer.first_byte_secs, answer.total_secs);
    ensure!(first < total / 2.0, "the first byte came after {first:.2} s of {total:.2} s: someone collects the body");
    Ok(format!("first byte after {:.0} of {:.0} ms", first * 1e3, total * 1e3))
}

fn early_hints(to: &Target<'_>) -> Result<String> {
    let said = Curl::new().url(to.base, "/hints").text()?;
    status(said.only()?.status, 200)?;
    ensure!(said.body == "hinted\n", "the body is {:?}", said.body);
    let (interim, last) = said.heads.split_once("\n\n").context("there is one head only, so no 103")?;
    let begins = |head: &str, code| head.split(' ').nth(1) == Some(code);
    ensure!(begins(interim, "103") && interim.contains("/style.css"), "the first head is:\n{interim}");
    ensure!(begins(last, "200"), "the head after the 103 is:\n{last}");
    Ok("103 with Link, then 200".to_owned())
}

fn wrk(to: &Target<'_>) -> Result<String> {
    load::wrk(to.base, &path(Sample::Small), to.offers.connections)
}

fn h2load(to: &Target<'_>) -> Result<String> {
    load::h2load(to.base, &path(Sample::Small), to.offers.connections, to.offers.connections * 200)
}

/// The origin closes idle connections after a second. POSTs come in volleys around that moment, so that parked
/// connections are taken just before, while and after their FIN is on its way. None may fail, none may arrive twice.
fn reuse_race(to: &Target<'_>) -> Result<String> {
    const VOLLEY: usize = 8;
    // Milliseconds from the end of one volley to the next; curl's own start adds a few.
    const PAUSES: [u64; 8] = [930, 960, 975, 985, 990, 1000, 1010, 1050];
    let before = posts(to)?;
    for pause in PAUSES {
        thread::scope(|scope| {
            let posts: Vec<_> = (0..VOLLEY).map(|_| scope.spawn(|| send(to, Sample::Small, &[]))).collect();
            posts.into_iter().try_for_each(|one| one.join().expect("a check does not panic").map(drop))
        })?;
        thread::sleep(Duration::from_millis(pause));
    }
    let (sent, arrived) = ((VOLLEY * PAUSES.len()) as u64, posts(to)? - before);
    ensure!(arrived == sent, "{sent} POSTs were sent, {arrived} arrived");
    Ok(format!("{sent} sent, {arrived} arrived"))
}

fn posts(to: &Target<'_>) -> Result<u64> {
    let said = Curl::new().url(to.base, "/posts").text()?;
    said.body.trim().parse().with_context(|| format!("/posts says {:?}", said.body))
}
