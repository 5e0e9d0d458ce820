//! One test of this test program, run in a process of its own: to be killed, measured, or put into a namespace.

#![expect(clippy::unwrap_used, reason = "a harness that fails has nothing better to do")]

use std::process::Command;

/// The command that runs the test `name` of the module `module_path!()` and prints what it prints.
pub fn test_alone(module: &str, name: &str) -> Command {
    test_alone_under(&[], module, name)
}

/// The same, started by the program and arguments `outer`.
pub fn test_alone_under(outer: &[&str], module: &str, name: &str) -> Command {
    // The harness leaves out the name of the test program.
    let path = format!("{}::{name}", module.split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(outer.first().map_or(program.as_os_str(), AsRef::as_ref));
    if let [_, arguments @ ..] = outer {
        command.args(arguments).arg(&program);
    }
    command.args(["--exact", &path, "--nocapture"]);
    command
}
