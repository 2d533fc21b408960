//! Load that wrk and h2load do not know. What was done is printed, and every step waits for a line on standard input.

mod certificate;
mod crowd;
mod handshakes;
mod wire;

use std::error::Error;

const USAGE: &str = "usage:
  bench-load certificate FOLDER               writes certificate.pem and key.pem
  bench-load crowd PROXY COUNT [tls]          COUNT connections, one request each; kept until a line comes, then closed
  bench-load held PROXY COUNT                 COUNT requests at once, each answered when all have come; then closed
  bench-load sparse PROXY COUNT RATE SECONDS  COUNT connections, each in turn asked for one of RATE requests a second
  bench-load handshakes PROXY full|resumed AT_ONCE SECONDS";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    match words.as_slice() {
        ["certificate", folder] => certificate::write(folder.as_ref()),
        ["crowd", proxy, count] => runtime.block_on(crowd::idle(proxy.parse()?, count.parse()?, false)),
        ["crowd", proxy, count, "tls"] => runtime.block_on(crowd::idle(proxy.parse()?, count.parse()?, true)),
        ["held", proxy, count] => runtime.block_on(crowd::held(proxy.parse()?, count.parse()?)),
        ["sparse", proxy, count, rate, seconds] => {
            runtime.block_on(crowd::sparse(proxy.parse()?, count.parse()?, rate.parse()?, seconds.parse()?))
        }
        ["handshakes", proxy, kind @ ("full" | "resumed"), at_once, seconds] => {
            let (at_once, seconds) = (at_once.parse()?, seconds.parse()?);
            runtime.block_on(handshakes::run(proxy.parse()?, *kind == "resumed", at_once, seconds))
        }
        _ => Err(USAGE.into()),
    }
}
