//! One run again, by its line of text: `SHEAVE_SIM_REPLAY='relay/get origin1.in@17=rst'`.

use crate::judge::judge;

/// Prints what happens in the run that the environment names; fails as it failed. Without one, replays a calm run.
#[test]
fn replay() {
    let line = std::env::var("SHEAVE_SIM_REPLAY").unwrap_or("relay/get".to_owned());
    let plan = line.parse().unwrap();
    let (record, violations) = judge(&plan);
    println!("{plan}: ended {:?} after {} operations\n{}", record.ended, record.operations, record.trace);
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
