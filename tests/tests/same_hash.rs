//! The same seed gives the same run, in whatever process.

use std::process::Command;

/// The hash of all traces of some seeds, in a process of its own. One of them has the
/// production store.
fn hash() -> String {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_sim"));
    sim.args(["--seeds", "4", "--seed", "19", "--seconds", "2", "--threads", "2"]);
    let output = sim.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let hash = text.lines().find(|line| line.starts_with("hash of all traces: "));
    hash.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn two_processes_agree_on_every_step() {
    assert_eq!(hash(), hash());
}
