//! The Autobahn suite against `serve --echo`: not one case worse than `tests/autobahn/expected.json`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::harness::{Server, root, say, tool, tool_file};

/// Runs the cases that the patterns name, and compares.
#[track_caller]
fn conforms(server: &[&str], cases: &[&str], folder: &str) {
    let python27 = std::env::var_os("PYTHON27").map(PathBuf::from).filter(|path| path.exists());
    let installed = python27.and_then(|python| Some((python, tool_file("autobahn")?)));
    let Some((python27, suite)) = tool("autobahn", installed) else { return };
    // The suite's client answers a ping even in the middle of a frame of its own, and so breaks that one: it gets none.
    let server = Server::start(&[server, &["--heartbeat", "1h"]].concat());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let _ = std::fs::remove_dir_all(&out);
    let mut fuzz = Command::new(python27)
        .arg(root().join("tests/autobahn/fuzz.py"))
        .args([&suite, Path::new(&server.url("/ws/autobahn")), &out])
        .args(cases)
        // It ends with its stdin, so that it never outlives the test.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // `wait` would close what it holds.
    let stdin = fuzz.stdin.take();
    assert!(fuzz.wait().unwrap().success());
    drop(stdin);
    let compared = Command::new("python3")
        .arg(root().join("tests/autobahn/compare.py"))
        .arg(&out)
        .args(cases)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(compared.status.success(), "{said}");
    say(said.trim_end());
    server.empties();
}

#[test]
fn every_case_but_the_large_ones() {
    conforms(&["--echo"], &["*", "-9.*", "-12.*", "-13.*"], "autobahn");
}

#[test]
fn the_large_ones_with_raised_limits() {
    conforms(&["--echo", "--max-message-bytes", "16MiB"], &["9.*"], "autobahn-large");
}
