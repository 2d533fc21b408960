//! Commands that run to their end: say what failed, where, and how to do it again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The command as a person would type it, with the environment that was set for it.
pub(crate) fn line(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in command.get_envs() {
        let Some(value) = value else { continue };
        let _ = write!(text, "{}={} ", name.to_string_lossy(), quoted(&value.to_string_lossy()));
    }
    let program = command.get_program().to_string_lossy();
    // rustup hands down cargo's full path; nobody types that.
    let program = if program.ends_with("/cargo") { "cargo".into() } else { program };
    text.push_str(&quoted(&program));
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&quoted(&argument.to_string_lossy()));
    }
    text
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs it with our own output; whether it ended with status 0.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.stdin(Stdio::null()).status();
    Ok(status.with_context(|| format!("cannot start `{}`", line(command)))?.success())
}

/// Runs it and keeps what it printed, however it ended.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))
}

/// Runs it and returns its standard output.
///
/// # Errors
/// It cannot be started, or it ended with another status than 0: then with what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    if !output.status.success() {
        bail!("`{}` failed ({}):\n{}", line(command), output.status, both(&output).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Both outputs as one text, standard output first.
pub(crate) fn both(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// `command` as the arguments of another program: `behind(&["taskset", "--cpu-list", "1"], …)`. Environment and folder
/// come along; an empty `prefix` only copies.
pub(crate) fn behind(prefix: &[&str], command: &Command) -> Command {
    let mut behind = match prefix.split_first() {
        Some((first, rest)) => {
            let mut behind = Command::new(first);
            behind.args(rest).arg(command.get_program());
            behind
        }
        None => Command::new(command.get_program()),
    };
    behind.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => behind.env(name, value),
            None => behind.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        behind.current_dir(folder);
    }
    behind
}

/// `program`, ended by `timeout` when it takes longer than `bound`: a stuck peer may not hang a chore.
pub(crate) fn bounded(program: PathBuf, bound: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=2").arg(format!("{}", bound.as_secs_f64())).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/home/me/.cargo/bin/cargo");
        command.env("RUSTDOCFLAGS", "-D warnings").args(["test", "-p", "a b", "it's", ""]);
        assert_eq!(line(&command), r"RUSTDOCFLAGS='-D warnings' cargo test -p 'a b' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("out\nerr"), "{error}");
    }
}
