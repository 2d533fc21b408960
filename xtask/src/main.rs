//! The project's own chores: `cargo xtask CHORE`.

mod api;
mod arguments;
mod bench;
mod command;
mod fuzz;
mod gate;
mod h2load;
mod instructions;
mod interop;
mod layers;
mod peers;
mod proc_fs;
mod process;
mod release;
mod supply;
mod tools;
mod workspace;
mod wrk;

use std::process::ExitCode;

use arguments::{Chore, Wanted};

fn main() -> ExitCode {
    let chore = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Wanted::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::Run(chore)) => chore,
        Err(error) => {
            eprintln!("xtask: {error}\n`cargo xtask help` lists the chores and their options.");
            return ExitCode::from(2);
        }
    };
    match run(chore) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one chore. `Ok(false)` means that it ran, has said what it found, and the answer is no.
fn run(chore: Chore) -> anyhow::Result<bool> {
    match chore {
        Chore::Layers { table: true } => {
            print!("{}", layers::table());
            Ok(true)
        }
        Chore::Layers { table: false } => layers::check(),
        Chore::Api(options) => api::run(options),
        Chore::Ci(options) => gate::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Interop(options) => interop::run(&options),
        Chore::Instructions(options) => instructions::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Release => release::run(),
    }
}
