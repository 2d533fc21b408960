//! How an origin misbehaves.

use clap::Args;

use crate::fault::{HELP, Spec};

/// How an origin misbehaves.
#[derive(Args, Debug)]
#[command(next_help_heading = "Faults")]
pub(crate) struct FaultArguments {
    /// Misbehave on purpose, such as `idle-close=5s`; may be given more than once, and `help` lists what there is.
    // What a well-behaved origin holds its clients to means nothing to one that misbehaves.
    #[arg(
        long,
        value_name = "SPEC",
        long_help = HELP,
        conflicts_with_all = ["ClientTimeouts", "ClientLimits", "ClientSockets", "DrainArguments", "workers", "strict",
                              "access_log", "access_log_format", "proxy_protocol_from", "ClientTlsArguments", "ClientHttp2"]
    )]
    pub(crate) fault: Vec<Spec>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::args::Arguments;

    #[test]
    fn nothing_can_be_said_beside_faults_that_would_mean_nothing() {
        let mut command = Arguments::command();
        command.build();
        let origin = command.find_subcommand("origin").expect("there is one");
        let fault = origin.get_arguments().find(|argument| argument.get_id() == "fault").expect("there is one");
        let conflicts: Vec<_> = origin.get_arg_conflicts_with(fault).iter().map(|it| it.get_id().as_str()).collect();
        let beside: Vec<_> =
            origin.get_arguments().map(|it| it.get_id().as_str()).filter(|it| !conflicts.contains(it)).collect();
        assert_eq!(beside, ["from", "admin", "fault", "quiet", "help"]);
    }
}
