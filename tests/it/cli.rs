//! The command line, as its users meet it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::harness::{RawSocket, Server, TEXT, headcount, program, tool};

fn sessions(server: &Server, arguments: &[&str]) -> Output {
    headcount().args(["sessions", "--admin", &server.admin_url()]).args(arguments).output().unwrap()
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "words go to stderr only when there is something to say");
    String::from_utf8(output.stdout).unwrap()
}

fn crowd(server: &Server) -> Vec<RawSocket> {
    let mut crowd: Vec<_> = [("billy", "p"), ("billy", "q"), ("zoe%1b[31m", "p")]
        .map(|(user, project)| {
            RawSocket::open(server.clients, &format!("/ws/{project}?username={user}&pageId=p1"))
        })
        .into();
    crowd[0].send(TEXT, &[b'x'; 2048]);
    crowd[0].barrier();
    crowd
}

#[test]
fn the_table_is_plain_in_a_pipe_and_ends_with_the_totals() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let table = stdout(sessions(&server, &[]));
    let lines: Vec<_> = table.lines().collect();
    assert!(!table.contains('\x1b'), "no colour and no client's control reaches a pipe: {table:?}");
    assert!(lines[0].starts_with("USER"), "{table}");
    assert!(lines[1].starts_with("billy") && lines[1].contains("2.0 KiB"), "{table}");
    assert!(lines[3].starts_with("zoe[31m"), "{table}");
    assert_eq!(lines[4], "");
    assert_eq!(lines[5], "3 sessions, 2 users, 2 projects, 3 pages, 2.0 KiB sent");
    assert_eq!(lines.len(), 6);
}

/// Runs a shell command on a terminal of its own.
fn on_a_terminal(command: &str) -> Option<String> {
    let script = tool("script", program("script", "--version"))?;
    let output = std::process::Command::new(script)
        .args(["-qec", command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_table_fits_the_terminal_and_has_colour_only_there() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let ask = format!("{} sessions --admin {}", env!("CARGO_BIN_EXE_headcount"), server.admin_url());
    for columns in [40, 60, 80, 120] {
        let Some(shown) = on_a_terminal(&format!("stty cols {columns} rows 24; {ask}")) else { return };
        let plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert!(!plain.contains('\x1b') && plain != shown, "bold, and nothing else: {shown:?}");
        assert!(plain.lines().all(|line| line.chars().count() <= columns || line.contains(" sessions, ")));
        assert!(plain.contains("billy") && plain.contains("USER"), "{plain}");
    }
    let plain = on_a_terminal(&format!("stty cols 80 rows 24; NO_COLOR=1 {ask}")).unwrap();
    assert!(!plain.contains('\x1b'), "{plain:?}");
}

#[test]
fn ending_sessions_is_asked_for_on_a_terminal_and_not_elsewhere() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let id = server.rows("projectFilter=q")[0]["id"].as_str().unwrap().to_owned();
    let close = format!("{} close {id} --admin {}", env!("CARGO_BIN_EXE_headcount"), server.admin_url());
    // The terminal's own input is what `script` reads; it passes an answer on.
    let answer =
        |word: &str| on_a_terminal(&format!("echo {word} | script -qec '{close}' /dev/null; echo code $?"));
    let Some(no) = answer("n") else { return };
    assert!(no.contains("End 1 session? [y/N]") && no.contains("nothing was ended"), "{no}");
    assert_eq!(server.rows("").len(), 3);
    let yes = answer("y").unwrap();
    assert!(yes.contains("1 session ended"), "{yes}");
    assert_eq!(server.rows("").len(), 2);
}

/// The question whether to end so many was once asked where signals are listened for, and Ctrl-C was heard by nobody.
#[test]
fn control_c_at_the_question_whether_to_end_sessions_ends_the_program() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let Some(script) = tool("script", program("script", "--version")) else { return };
    let id = server.rows("projectFilter=q")[0]["id"].as_str().unwrap().to_owned();
    for which in ["--user billy", "--project p", "--all", &id] {
        let close =
            format!("{} close {which} --admin {}", env!("CARGO_BIN_EXE_headcount"), server.admin_url());
        let mut child = std::process::Command::new(&script)
            .args(["-qec", &close, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut seen = Vec::new();
        while !seen.ends_with(b"[y/N] ") {
            let mut byte = [0];
            shown.read_exact(&mut byte).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&seen)));
            seen.push(byte[0]);
        }
        keys.write_all(b"\x03").unwrap();
        let ended = crate::harness::eventually("the end", || child.try_wait().unwrap().ok_or("running"));
        assert_ne!(ended.code(), Some(0), "{which}");
    }
    assert_eq!(server.rows("").len(), 3);
}

#[test]
fn ending_nothing_in_particular_is_a_mistake_that_says_what_is_missing() {
    for arguments in [&["close"][..], &["close", "--message", "bye"], &["close", "--dry-run", "--yes"]] {
        let output = headcount().args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(
            said,
            "headcount: nothing says which sessions to end: give an ID, or --user, --project or --all\n"
        );
    }
}

#[test]
fn sending_is_asked_for_on_a_terminal_and_not_elsewhere() {
    let server = Server::start(&[]);
    let v1 = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let _client = RawSocket::open_with(server.clients, "/ws/p?username=ann", v1);
    let id = server.rows("")[0]["id"].as_str().unwrap().to_owned();
    let send = |more: &str| {
        let program = env!("CARGO_BIN_EXE_headcount");
        format!("{program} send {id} notice 1 {more} --admin {}", server.admin_url())
    };
    let answer = |word: &str| on_a_terminal(&format!("echo {word} | script -qec '{}' /dev/null", send("")));
    let Some(no) = answer("n") else { return };
    assert!(no.contains("Send \"notice\" to session ") && no.contains("nothing was sent"), "{no}");
    assert!(answer("y").unwrap().contains("delivered"));
    let unasked = on_a_terminal(&send("--yes")).unwrap();
    assert!(unasked.contains("delivered") && !unasked.contains("[y/N]"), "{unasked}");
    for command in ["close", "send"] {
        let help = stdout(headcount().args([command, "--help"]).output().unwrap());
        assert!(help.contains("Do not ask; without a terminal nobody is asked"), "{help}");
    }
}

#[test]
fn watching_takes_the_whole_terminal_and_gives_it_back() {
    let server = Server::start(&[]);
    let _crowd: Vec<_> = (0..40).map(|_| RawSocket::open(server.clients, "/ws/p?username=many")).collect();
    let ask =
        format!("{} sessions --watch 200ms --admin {}", env!("CARGO_BIN_EXE_headcount"), server.admin_url());
    let command = format!("stty cols 70 rows 20; timeout -s INT 1 {ask}; echo ended $?");
    let Some(shown) = on_a_terminal(&command) else { return };
    let (begin, end) = (shown.find("\x1b[?1049h").unwrap(), shown.rfind("\x1b[?1049l").unwrap());
    let watched = &shown[begin..end];
    assert!(watched.matches("40 sessions, 1 user").count() >= 3, "{watched}");
    assert!(watched.contains("more; a taller terminal shows them"), "{watched}");
    assert!(shown[end..].contains("\x1b[?25h") || watched.contains("\x1b[?25h"), "the cursor is back");
    assert!(shown[end..].contains("ended 0") || shown[end..].contains("ended 124"), "{shown}");
}

#[test]
fn filters_go_to_the_server_as_they_are() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let count = |arguments: &[&str]| {
        let arguments = [arguments, &["-o", "ndjson"]].concat();
        stdout(sessions(&server, &arguments)).lines().count()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--user", "billy"]), 2);
    assert_eq!(count(&["--user", "b*", "--project", "q"]), 1);
    assert_eq!(count(&["--user", "nobody"]), 0);
}

#[test]
fn every_format_holds_the_same_rows() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let json: Vec<Value> = serde_json::from_str(&stdout(sessions(&server, &["-o", "json"]))).unwrap();
    let ndjson: Vec<Value> = stdout(sessions(&server, &["-o", "ndjson"]))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let csv = stdout(sessions(&server, &["-o", "csv"]));
    let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&json), ids(&ndjson));
    assert_eq!(json[0].as_object().unwrap().len(), 13);
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.starts_with("userAgent,id,username,project,uptime,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains(",billy,p,"), "{csv}");
}

#[test]
fn the_load_harness_finds_the_server_exact() {
    let server = Server::start(&["--echo", "--resume-window", "30s", "--resume-window-mobile", "30s"]);
    let load = |arguments: &[&str]| {
        let url = server.url("");
        headcount().args(["load", &url, "--admin", &server.admin_url()]).args(arguments).output().unwrap()
    };
    let arguments = ["--sessions", "60", "--rate", "20", "--duration", "2", "--query-rate", "5", "--verify"];
    let text = stdout(load(&arguments));
    assert!(text.contains("ledger: 60 sessions, 2400 messages, ") && text.contains(" 0 off"), "{text}");
    assert!(text.contains("60 of 60 connected") && text.contains("2400 came back, 0 did not"), "{text}");
    let json = stdout(load(&[&arguments[..], &["--json", "--binary", "--bytes", "0-70"]].concat()));
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&report["ledger"]["off"], &report["ledger"]["messages"]),
        (&0.into(), &2400.into()),
        "{json}"
    );
    let churn = ["--churn", "50%", "--drop", "0.2", "--resume", "--tabs", "3", "--settle", "10"];
    let text = stdout(load(&[&arguments[..], &churn].concat()));
    assert!(text.contains(" left, 12 dropped, ") && text.contains(" connections that came back\n"), "{text}");
    assert!(text.contains(" 0 off\n  ended     ") && text.contains("  settled   no sessions left"), "{text}");
    let off = load(&["--sessions", "5", "--bytes", "70000", "--duration", "1", "--verify"]);
    let said = String::from_utf8_lossy(&off.stdout);
    assert_eq!(off.status.code(), Some(1), "{said}");
    assert!(said.contains("closed 1009") && said.contains("5 off"), "{said}");
    let closed = load(&["--sessions", "5", "--bytes", "70000", "--duration", "1"]);
    let said = String::from_utf8_lossy(&closed.stderr);
    assert_eq!(closed.status.code(), Some(1), "{said}");
    assert!(said.contains("5 of the sessions were ended by the server before the run was over"), "{said}");
    let elsewhere = load(&["--bytes", "5-1"]);
    assert_eq!(elsewhere.status.code(), Some(2));
}

#[test]
fn exit_codes_tell_unreachable_from_refused_from_mistaken() {
    // Nothing listens on the first port, and no test is ever given it.
    let closed = "127.0.0.1:1".to_owned();
    let run = |admin: &str| headcount().args(["sessions", "--admin", admin]).output().unwrap();
    let fails = |output: Output, code: i32, says: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    };
    fails(run(&closed), 4, &closed);
    fails(run("ftp://x"), 2, "ftp://x");
    fails(run("127.0.0.1"), 2, "host:port");
    let server = Server::start(&[]);
    fails(run(&server.clients.to_string()), 4, "404");
    for status in ["401 Unauthorized", "403 Forbidden"] {
        fails(run(&refusing(status)), 3, "(not for you)");
    }
    fails(sessions(&server, &["--watch", "1ms"]), 2, "100ms");
    fails(sessions(&server, &["-o", "xml"]), 2, "xml");
}

/// An admin plane that refuses everybody, once; answers its address.
fn refusing(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let body = r#"{"error":{"code":"x","message":"not for you"}}"#;
        let length = body.len();
        // In one piece: of a refusal only what comes with its head is told.
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).unwrap();
        // Not closed before it is read.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let server = Server::start(&[]);
    let _crowd: Vec<_> = (0..300).map(|_| RawSocket::open(server.clients, "/ws/p")).collect();
    for output in ["table", "json", "ndjson", "csv"] {
        let mut child = headcount()
            .args(["sessions", "--admin", &server.admin_url(), "-o", output, "--watch", "100ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let status = child.wait().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((status.code(), &*said), (Some(0), ""), "{output}");
    }
}

/// A server that accepts and never answers once held the program against every signal but KILL.
#[test]
fn a_signal_ends_it_whatever_it_waits_for() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = mute.local_addr().unwrap().to_string();
    for signal in ["-INT", "-TERM"] {
        for watch in [&[][..], &["--watch", "1s"]] {
            let mut child = headcount().args(["sessions", "--admin", &admin]).args(watch).spawn().unwrap();
            let _connected = mute.accept().unwrap();
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            let ended = crate::harness::eventually("the end", || child.try_wait().unwrap().ok_or("running"));
            assert_eq!(ended.code(), Some(0));
        }
    }
}

#[test]
fn watching_ends_when_the_server_does() {
    let server = Server::start(&[]);
    let mut child = headcount()
        .args(["sessions", "--admin", &server.admin_url(), "-o", "csv", "--watch", "100ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("userAgent,"));
    server.terminate();
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn the_demo_shows_a_living_plant_and_ends() {
    let output = headcount().args(["demo", "--duration", "4s"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let pictures: Vec<_> = shown.split("PROJECT").skip(1).collect();
    assert!(pictures.len() >= 2, "{shown}");
    for scope in ["browser", "ios", "android", "designer"] {
        assert!(pictures[1].contains(scope), "{scope}: {shown}");
    }
    let totals = |picture: &str| {
        let line = picture.lines().find(|line| line.contains(" sessions, ")).unwrap();
        let sessions: u32 = line.split(' ').next().unwrap().parse().unwrap();
        (sessions, line.to_owned())
    };
    assert!((50..=60).contains(&totals(pictures[1]).0), "{shown}");
    assert_ne!(totals(pictures[0]).1, totals(pictures[1]).1, "it lives");
}

#[test]
fn the_registry_is_measured_without_a_socket() {
    let measured = headcount()
        .args(["bench-registry", "--sessions", "2000", "--rounds", "1", "--writers", "1"])
        .output()
        .unwrap();
    assert!(measured.status.success());
    let printed = String::from_utf8(measured.stdout).unwrap();
    let begins: Vec<_> = printed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(begins, ["sessions", "list", "filter", "writers"], "{printed}");
    assert!(printed.contains("2000 in memory") && printed.contains("20 sessions by user"), "{printed}");
    let few = headcount().args(["bench-registry", "--sessions", "5"]).output().unwrap();
    assert_eq!(few.status.code(), Some(2));
}
