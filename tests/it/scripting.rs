//! `system.perspective.getSessionInfo`, called as engineers call it, by each interpreter that they use.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use crate::harness::{RawSocket, Server, program, root, tool};

/// An interpreter, and the prefix of the scripts in its dialect.
fn interpreters() -> Vec<(&'static str, PathBuf, &'static str)> {
    let python27 = std::env::var_os("PYTHON27").map(PathBuf::from);
    let python27 = python27.filter(|path| path.exists()).or_else(|| program("python2.7", "--version"));
    [
        ("python3", program("python3", "--version"), "py3_"),
        ("python2.7", python27, ""),
        ("jython", program("jython", "--version"), ""),
    ]
    .into_iter()
    .filter_map(|(name, found, prefix)| Some((name, tool(name, found)?, prefix)))
    .collect()
}

fn run(interpreter: &PathBuf, script: &str, argument: &str, admin: &str) -> Output {
    let sdk = root().join("src/sdk/python");
    Command::new(interpreter)
        .arg(root().join("tests/scripting").join(script))
        .args((!argument.is_empty()).then_some(argument))
        .env("PYTHONPATH", &sdk)
        // Jython heeds this one only, and reads its arguments in the locale's encoding.
        .env("JYTHONPATH", &sdk)
        .env("LANG", "C.UTF-8")
        .env("PYTHONIOENCODING", "utf-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HEADCOUNT_ADMIN", admin)
        .output()
        .unwrap()
}

#[track_caller]
fn says(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn engineers_scripts_run_unchanged() {
    let server = Server::start(&[]);
    let _crowd = [("billy", "line%201"), ("billy", "q"), ("zo%C3%AB", "line%201")]
        .map(|(user, project)| RawSocket::open(server.clients, &format!("/ws/{project}?username={user}")));
    for (name, interpreter, prefix) in interpreters() {
        let count = |user: &str| {
            says(run(&interpreter, &format!("{prefix}count_user.py"), user, &server.admin_url()))
        };
        assert_eq!(count("billy"), "2 sessions belong to billy\n", "{name}");
        assert_eq!(count("nobody"), "0 sessions belong to nobody\n", "{name}");
        let list =
            says(run(&interpreter, &format!("{prefix}list_project.py"), "line 1", &server.admin_url()));
        let mut users = Vec::new();
        for (n, line) in list.lines().enumerate() {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!((words[0], words[3]), (&*(n + 1).to_string(), "ms"), "{name}: {line}");
            assert!(words[2].parse::<u64>().unwrap() < 120_000, "{name}: {line}");
            users.push(words[1]);
        }
        users.sort_unstable();
        assert_eq!(users, ["billy", "zoë"], "{name}");
    }
}

#[test]
fn a_script_without_a_server_is_told_what_to_do() {
    for (name, interpreter, prefix) in interpreters() {
        let output = run(&interpreter, &format!("{prefix}count_user.py"), "", "http://127.0.0.1:1");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(said.contains("Is headcount running there?"), "{name}: {said}");
    }
}

#[test]
fn the_function_keeps_its_contract_in_every_python() {
    for (name, interpreter, _) in interpreters() {
        let output = run(&interpreter, "contract.py", "", "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains("Ran 3"), "{name}: {said}");
    }
}
