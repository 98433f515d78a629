//! The hot paths take no more instructions than `benches/callgrind/ceilings.txt` allows.

use std::process::Command;

use crate::harness::{program, root, say, tool};

#[test]
fn no_hot_path_is_above_its_ceiling() {
    let Some(_) = tool("valgrind", program("valgrind", "--version")) else { return };
    // The bench is built as it is measured, optimised, which takes a while the first time.
    let counted = Command::new(env!("CARGO"))
        .args(["bench", "--locked", "--quiet", "--bench", "callgrind"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&counted.stdout);
    let why = String::from_utf8_lossy(&counted.stderr);
    assert!(counted.status.success(), "{said}{why}");
    say(said.trim_end());
}
