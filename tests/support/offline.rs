//! Commands that reach nothing by the network. What they reach by sockets of this machine, such as a builder, they still reach.

use std::process::Command;

/// `command` in a network of its own, which has nothing.
pub(crate) fn without_network(command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        outer.arg("--map-root-user");
    }
    outer.args(["--net", "--"]).arg(command.get_program());
    outer.args(command.get_args()).env_clear();
    let set = command.get_envs();
    outer.envs(set.filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        outer.current_dir(dir);
    }
    outer
}
