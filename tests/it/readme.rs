//! The README's examples are run, and what it shows is what comes: the same lines, numbers and ids aside.

use std::process::Command;

use crate::harness::{RawSocket, Server, TEXT, program, root, tool};

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The commands of the README's console blocks, each with the lines shown under it.
fn examples() -> Vec<(String, Vec<String>)> {
    let mut examples: Vec<(String, Vec<String>)> = Vec::new();
    for block in readme().split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push((command.to_owned(), Vec::new())),
                None => examples.last_mut().unwrap().1.push(line.to_owned()),
            }
        }
    }
    examples
}

/// A line without what differs from run to run: numbers with their units, ids, and the width of gaps.
fn shape(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',']).trim_end_matches("/s");
        let is_unit = matches!(bare, "B" | "KiB" | "MiB" | "ms" | "s" | "us");
        if word.starts_with(['{', '[']) {
            // JSON: the keys stay, what changes between quotes or after a colon goes.
            let id = word.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
            let same = if id.is_empty() { word.to_owned() } else { word.replace(id, "") };
            words.push(same.chars().filter(|c| !c.is_ascii_digit()).collect());
        } else if is_unit || word.contains(|c: char| c.is_ascii_digit()) {
            if words.last().is_none_or(|last| last != "#") {
                words.push("#".to_owned());
            }
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// Runs a command of the README as it stands, but for the program's place, the ports, and the time it takes.
fn run(server: &Server, command: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_headcount");
    let command = command
        .replace("cargo run --release -- demo", "COLUMNS=80 headcount demo --duration 2500ms")
        .replace(
            "headcount load --sessions 5000",
            &format!("headcount load {} --sessions 50", server.url("")),
        )
        .replace("--duration 30", "--duration 2")
        .replace("127.0.0.1:8080", &server.clients.to_string())
        .replace("127.0.0.1:8081", &server.admin.to_string());
    let output = Command::new("bash")
        .args(["-c", &format!("headcount() {{ '{binary}' \"$@\"; }}; set -e; {command}")])
        .env("HEADCOUNT_ADMIN", server.admin_url())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn every_example_shows_what_really_comes() {
    let server = Server::start(&["--resume-window", "30s", "--resume-window-mobile", "5m"]);
    let mut client = RawSocket::open(server.clients, "/ws/plant?username=billy&pageId=p1");
    client.send(TEXT, b"hello");
    client.barrier();
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");
    for (command, shown) in examples {
        if command.starts_with("curl") && tool("curl", program("curl", "--version")).is_none() {
            continue;
        }
        let came = run(&server, &command);
        let shapes: Vec<_> = came.lines().map(shape).collect();
        // Who is in the demo's room at a moment differs, and an ellipsis leaves lines out.
        let demo = command.contains("demo");
        for (n, line) in shown.iter().enumerate() {
            let varies = line == "…" || (demo && n > 0 && n + 2 < shown.len());
            let comes = shapes.contains(&shape(line));
            assert!(varies || comes, "{command}\nshows {line:?}\nbut there came\n{came}");
        }
    }
}

#[test]
fn a_line_that_does_not_come_is_found() {
    assert_eq!(shape("p50 0.31 ms   4 of 4"), shape("p50  17.3 s 50 of 50"));
    assert_ne!(shape("5 sessions, 3 users"), shape("5 sessions, 3 projects"));
    assert_ne!(shape(r#"[{"id":"a","username":"x"}]"#), shape(r#"[{"id":"a","user":"x"}]"#));
    assert_eq!(shape(r#"[{"id":"a-1","uptime":7}]"#), shape(r#"[{"id":"b-2","uptime":712}]"#));
}

#[test]
fn there_are_exactly_two_commands_at_the_start() {
    let readme = readme();
    let section = readme.split("## Two commands").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<_> = section.split("```").skip(1).step_by(2).collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].starts_with("console\n$ cargo run --release -- demo\n"));
    assert_eq!(blocks[1], "sh\ntests/run\n");
    assert!(root().join("tests/run").exists());
}

#[test]
fn the_script_of_the_readme_is_run() {
    let readme = readme();
    let block = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let Some(jython) = tool("jython", program("jython", "--version")) else { return };
    let server = Server::start(&[]);
    let _client = RawSocket::open(server.clients, "/ws/plant%201?username=billy");
    let script = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.py");
    std::fs::write(&script, block).unwrap();
    let output = Command::new(jython)
        .arg(&script)
        .env("JYTHONPATH", root().join("src/sdk/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HEADCOUNT_ADMIN", server.admin_url())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut lines = said.lines();
    assert_eq!(
        lines.next(),
        Some("1 sessions belong to billy"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(lines.next().unwrap().starts_with("0 billy "), "{said}");
}
