//! How the server starts, and how it ends.

use std::{net::TcpListener, path::Path, process::Output, time::Instant};

use crate::harness::{CLOSE, RawSocket, Server, TEXT, UPGRADE, eventually, get, headcount, request};

fn serve(arguments: &[&str]) -> Output {
    headcount().arg("serve").args(arguments).output().unwrap()
}

/// One line on stderr that says this, nothing on stdout, and this exit code.
#[track_caller]
fn refuses(output: &Output, code: i32, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in says {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_mistake_is_one_line_that_names_it() {
    refuses(&serve(&["--lisen", "127.0.0.1:0"]), 2, &["--lisen", "--listen"]);
    refuses(&serve(&["--listen", "8080"]), 2, &["listen \"8080\" is no address", "127.0.0.1:8080"]);
    refuses(&serve(&["--max-message-bytes", "64kb"]), 2, &["--max-message-bytes", "64kb", "64KiB"]);
    refuses(&serve(&["--request-timeout", "5"]), 2, &["--request-timeout", "like 250ms, 30s or 5m"]);
    refuses(&serve(&["--identity", "trust-me"]), 2, &["--identity", "open"]);
    refuses(&serve(&["--identity", "jwt"]), 2, &["identity jwt needs jwt-key-file"]);
    refuses(&serve(&["--config", "/nowhere/at.toml"]), 2, &["config /nowhere/at.toml cannot be read"]);
    refuses(
        &serve(&["--admin-listen", "0.0.0.0:0"]),
        2,
        &["admin-listen", "not loopback", "--insecure-admin"],
    );
    refuses(&serve(&["--listen", "0.0.0.0:0"]), 2, &["listen", "not loopback", "--identity open"]);
    refuses(&headcount().arg("sevre").output().unwrap(), 2, &["sevre"]);
    let unequal = ["drain-spread 3s is longer than grace-period 2s", "lengthen grace-period"];
    refuses(&serve(&["--grace-period", "2s", "--drain-spread", "3s"]), 2, &unequal);
    let environment = headcount().args(["serve"]).env("HEADCOUNT_ECHO", "perhaps").output().unwrap();
    refuses(&environment, 2, &["echo", "perhaps"]);
}

/// These were told of digits and target types, and one from the environment of a flag that nobody had typed.
#[test]
fn a_number_that_is_none_is_told_what_it_must_be_and_which_variable_holds_it() {
    for (number, must_be) in [
        ("abc", "it must be a whole number"),
        ("1.5", "it must be a whole number"),
        ("-1", "it must be a whole number, 0 or more"),
        ("", "it must be a whole number"),
        ("99999999999999999999", "it is too large"),
    ] {
        let of_flag = format!("headcount: invalid value '{number}' for '--max-sessions <N>': {must_be} (see");
        let with_equals = format!("--max-sessions={number}");
        for typed in [&["--max-sessions", number][..], &[&with_equals]] {
            if !(number.is_empty() && typed.len() == 1) {
                refuses(&serve(typed), 2, &[&of_flag]);
            }
        }
        let variable = headcount().arg("serve").env("HEADCOUNT_MAX_SESSIONS", number).output().unwrap();
        let named =
            format!("invalid value '{number}' for HEADCOUNT_MAX_SESSIONS (--max-sessions): {must_be} (see");
        refuses(&variable, 2, &[&named]);
    }
    let both = headcount().args(["serve", "--max-sessions=x"]).env("HEADCOUNT_MAX_SESSIONS", "1").output();
    refuses(&both.unwrap(), 2, &["invalid value 'x' for '--max-sessions <N>'"]);
    let load = headcount().args(["load", "--sessions", "many"]).output().unwrap();
    refuses(&load, 2, &["invalid value 'many' for '--sessions <N>': it must be a whole number"]);
}

#[test]
fn a_variable_that_is_no_setting_is_warned_of_and_no_mistake() {
    let mut command = headcount();
    command.args(["serve", "--log=warn"]);
    command.env("HEADCOUNT_MAX-SESSIONS", "5").env("headcount_echo", "true").env("HEADCOUNT_PORT", "tcp://x");
    let server = Server::start_by(command.env("HEADCOUNT_ADMIN_TOKEN", "secret"));
    let (status, said) = server.terminate();
    assert_eq!(status.code(), Some(0), "{said}");
    let warning = "no setting is called so: HEADCOUNT_MAX-SESSIONS (it is written HEADCOUNT_MAX_SESSIONS), \
        HEADCOUNT_PORT, headcount_echo (it is written HEADCOUNT_ECHO)\n";
    assert!(said.contains(warning) && !said.contains("secret") && !said.contains("tcp://"), "{said}");
}

#[test]
fn both_planes_at_one_address_are_a_mistake_that_names_both_settings() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let both = format!("listen {address} and admin-listen {address} are one address");
    // Nothing is bound for it: this port is taken, which would be exit code 1.
    refuses(&serve(&["--listen", &address, "--admin-listen", &address]), 2, &[&both]);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(&serve(&["--listen", &address]), 1, &["cannot listen on", &address, "in use"]);
    refuses(
        &serve(&["--listen", "127.0.0.1:0", "--admin-listen", &address]),
        1,
        &["cannot listen on", &address],
    );
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("test-{}.toml", std::process::id()));
    let path = file.to_str().unwrap();
    let with = |text: &str| {
        std::fs::write(&file, text).unwrap();
        serve(&["--config", path])
    };
    refuses(&with("echo = true\nlisten-to = '127.0.0.1:0'\n"), 2, &[path, "line 2", "listen-to", "`listen`"]);
    refuses(&with("echo = 'yes'\n"), 2, &[path, "line 1", "boolean"]);
    refuses(&with("max-message-bytes = '64 bytes'\n"), 2, &[path, "line 1", "64 bytes", "64KiB"]);
    refuses(&with("listen = \n"), 2, &[path, "line 1"]);
    refuses(&with("\nheartbeat = 5\n"), 2, &[path, "line 2: heartbeat must be a duration like", ", not 5"]);
    refuses(
        &with("admin_listen = 'x'\n"),
        2,
        &[path, "unknown key admin_listen: it is written admin-listen"],
    );
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("test-order-{}.toml", std::process::id()));
    std::fs::write(&file, "max-message-bytes = '10B'\necho = true\nmax-sessions-per-address = 1\n").unwrap();
    // The harness clears HEADCOUNT_ variables, so the middle one is tried by a mistake in it.
    let output = headcount()
        .args(["serve", "--listen", "x", "--config"])
        .arg(&file)
        .env("HEADCOUNT_LISTEN", "y")
        .output()
        .unwrap();
    refuses(&output, 2, &["listen \"x\""]);
    let output = headcount()
        .arg("serve")
        .env("HEADCOUNT_CONFIG", &file)
        .env("HEADCOUNT_LISTEN", "y")
        .output()
        .unwrap();
    refuses(&output, 2, &["listen \"y\""]);
    let server = Server::start(&["--config", file.to_str().unwrap(), "--max-message-bytes=20B"]);
    let mut client = RawSocket::open(server.clients, "/ws/p");
    client.send(TEXT, &[b'x'; 20]);
    assert_eq!(client.receive(), Some((TEXT, vec![b'x'; 20])), "the file's echo, the flag's limit");
    assert_eq!(request(server.clients, "GET", "/ws/p", UPGRADE, "").status, 429, "the file's limit");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn two_settings_that_do_not_go_together_are_refused_wherever_each_is_written() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("test-drain-{}.toml", std::process::id()));
    std::fs::write(&file, "grace-period = '2s'\n").unwrap();
    let by_file = |spread: &str| {
        let mut command = headcount();
        command.args(["serve", "--config"]).arg(&file).env("HEADCOUNT_DRAIN_SPREAD", spread);
        command
    };
    let says = ["drain-spread 3s is longer than grace-period 2s"];
    refuses(&by_file("3s").output().unwrap(), 2, &says);
    refuses(&by_file("1s").arg("--drain-spread=3s").output().unwrap(), 2, &says);
    let server = Server::start_by(by_file("3s").arg("--grace-period=3s"));
    assert_eq!(get(server.admin, "/readyz").status, 200, "the flag's grace period goes before the file's");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_signal_drains_and_the_server_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let mut clients: Vec<_> =
            (0..20).map(|_| RawSocket::open(server.clients, "/ws/p?username=billy")).collect();
        let mut query = RawSocket::open(server.admin, "/query");
        let begun = Instant::now();
        server.signal(signal);
        for client in &mut clients {
            let (opcode, payload) = client.receive().expect("a close frame");
            assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (CLOSE, 1001));
            client.send(CLOSE, &1001_u16.to_be_bytes());
            assert_eq!(client.receive(), None);
        }
        let (opcode, payload) = query.receive().expect("a close frame");
        assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (CLOSE, 1001));
        drop(query);
        let (status, said) = server.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("drained: 20 connections were open, 20 left, 0 were cut"), "{said}");
        assert!(begun.elapsed().as_secs() < 4, "nobody was waited for in vain");
    }
}

#[test]
fn while_it_drains_it_lets_nobody_in_and_still_answers_administrators() {
    let server = Server::start(&["--grace-period", "3s"]);
    let mut stubborn = RawSocket::open(server.clients, "/ws/p?username=stubborn");
    let mut query = RawSocket::open(server.admin, "/query");
    server.signal("TERM");
    let ready = eventually("the drain", || {
        let response = get(server.admin, "/readyz");
        if response.status == 503 { Ok(response) } else { Err(response.status) }
    });
    assert!(ready.header("retry-after").is_some());
    let refused = request(server.clients, "GET", "/ws/p", UPGRADE, "");
    assert_eq!((refused.status, &*refused.error().0), (503, "draining"));
    // A server that is ended by something which asks whether it is alive must not be cut for that.
    assert_eq!([server.clients, server.admin].map(|plane| get(plane, "/healthz").status), [200, 200]);
    assert!(refused.header("retry-after").is_some());
    // What a client sends until it has answered the close is counted.
    stubborn.send(TEXT, b"last words");
    server.row("stubborn", |row| row["totalBytesSent"] == 10);
    query.send(TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#);
    assert_eq!(query.receive().unwrap().0, TEXT);
    let nodes = get(server.admin, "/api/v1/nodes").body;
    assert!(nodes.contains(r#""draining":true,"sessions":1,"connections":1"#), "{nodes}");
}

#[test]
fn whoever_does_not_leave_has_the_grace_period_and_is_then_cut() {
    // Longer than any other wait of an ending connection, which once cut it short and called it a leaving.
    let server = Server::start(&["--grace-period", "3s"]);
    let stubborn = RawSocket::open(server.clients, "/ws/p");
    let begun = Instant::now();
    let (status, said) = server.terminate();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("drained: 1 connections were open, 0 left, 1 were cut"), "{said}");
    assert!((2900..6000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drop(stubborn);
}

#[test]
fn a_client_that_reads_nothing_of_its_echo_cannot_hold_the_server_up() {
    let server = Server::start(&["--echo", "--grace-period", "500ms"]);
    let mut deaf = RawSocket::open(server.clients, "/ws/p?username=deaf");
    deaf.stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let message = crate::harness::frame(0x82, &[0; 60_000]);
    while std::io::Write::write_all(&mut deaf.stream, &message).is_ok() {}
    let mut other = RawSocket::open(server.clients, "/ws/p?username=other");
    other.send(TEXT, b"hello");
    assert_eq!(other.receive(), Some((TEXT, b"hello".to_vec())));
    let begun = Instant::now();
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed().as_secs() < 4);
}

#[test]
fn no_token_and_no_message_reaches_the_log() {
    let server = Server::start(&["--log", "trace"]);
    let headers = "Authorization: Bearer hush-1\r\nSec-WebSocket-Protocol: headcount.bearer.hush-2\r\n";
    let target = "/ws/p?access_token=hush-3&resumeToken=hush-4&username=billy";
    let mut client = RawSocket::open_with(server.clients, target, headers);
    client.send(TEXT, b"hush-5");
    client.barrier();
    client.send(TEXT, b"hush-6\xff");
    assert_eq!(client.closed_with(), 1007);
    let refused = request(server.clients, "GET", "/ws/p?scope=x%1b&access_token=hush-7", UPGRADE, "");
    assert_eq!(refused.status, 400);
    get(server.admin, "/api/v1/session-info?access_token=hush-8");
    let (_, said) = server.terminate();
    assert!(said.contains("refused") && said.contains("without a close frame"), "it does log: {said}");
    assert!(!said.contains("hush"), "{said}");
    assert!(!said.contains('\x1b'), "{said}");
}

#[test]
fn the_start_tells_addresses_that_can_be_reached_and_what_to_try() {
    // `Server::start` reads the addresses of the first two lines; they must lead somewhere wherever it listens.
    for everywhere in ["0.0.0.0:0", "[::]:0"] {
        let server = Server::start(&["--admin-listen", everywhere, "--insecure-admin"]);
        assert_eq!(get(server.admin, "/readyz").status, 200, "{everywhere} said {}", server.admin);
        let over_ipv4 = std::net::SocketAddr::from(([127, 0, 0, 1], server.admin.port()));
        assert_eq!(get(over_ipv4, "/readyz").status, 200, "{everywhere} over IPv4");
    }
    let mut child = headcount()
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said: Vec<_> = lines.take(3).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said[0].contains("/ws/{project}?username=") && said[1].contains("/query"), "{said:?}");
    assert!(said[2].contains("headcount sessions --admin http://127.0.0.1:"), "{said:?}");
}

#[test]
fn a_server_whose_words_nobody_reads_serves_all_the_same() {
    // It cannot say where it is, so the ports are found before, on an address that no other test uses.
    let free = || TcpListener::bind("127.0.0.77:0").unwrap();
    let (clients, admin) = (free(), free());
    let [clients, admin] = [clients, admin].map(|listener| listener.local_addr().unwrap().to_string());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = headcount()
        .args(["serve", "--listen", &clients, "--admin-listen", &admin])
        .stdout(full.try_clone().unwrap())
        .stderr(full)
        .spawn()
        .unwrap();
    let admin: std::net::SocketAddr = admin.parse().unwrap();
    eventually("the server", || std::net::TcpStream::connect(admin));
    assert_eq!(get(admin, "/readyz").status, 200);
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_help_names_every_setting() {
    let help = headcount().args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in
        ["--listen", "--admin-listen", "--config", "--max-message-bytes", "--echo", "HEADCOUNT_LISTEN"]
    {
        assert!(help.contains(flag), "{flag}");
    }
}
