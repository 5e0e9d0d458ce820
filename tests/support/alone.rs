//! Runs one test of this test program in a separate process, to kill it, measure it, or put it into a namespace.

#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::process::Command;

/// The command that runs the test `name` of `module`, which is `module_path!()`, and shows its output.
pub fn test_alone(module: &str, name: &str) -> Command {
    test_alone_under(&[], module, name)
}

/// Like [`test_alone`], started by the program and arguments `outer`.
pub fn test_alone_under(outer: &[&str], module: &str, name: &str) -> Command {
    // Test names do not include the name of the test program.
    let path = format!("{}::{name}", module.split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(outer.first().map_or(program.as_os_str(), AsRef::as_ref));
    if let [_, arguments @ ..] = outer {
        command.args(arguments).arg(&program);
    }
    command.args(["--exact", &path, "--nocapture"]);
    command
}
