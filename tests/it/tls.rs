//! TLS on both planes, over real sockets.

use std::{
    io::{BufRead, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpSocket, sync::watch};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConnection, StreamOwned,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    certificates::{Authority, shown},
    harness::{
        BINARY, CLOSE, PING, PONG, RawSocket, Server, TEXT, UPGRADE, dial, eventually, exchange,
        exchange_over, frame, get, headcount, program, root, tool,
    },
};

#[test]
fn over_tls_every_byte_is_counted_and_both_planes_answer() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    let mut client = authority.open(server.clients, "/ws/plant?username=billy&pageId=p1");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.send(TEXT, b"hello");
    client.send(BINARY, &[7; 60_000]);
    client.send(TEXT, "Zoë".as_bytes());
    client.barrier();
    let ask = format!("GET /api/v1/session-info HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin);
    let response = exchange_over(&mut authority.connect(server.admin), ask.as_bytes());
    let over_https: Value = serde_json::from_str(&response.body).unwrap();
    let mut query = authority.open(server.admin, "/query");
    query.send(TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#);
    let (opcode, answer) = query.receive().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(opcode, TEXT);
    for row in [&over_https[0], &answer["result"][0]] {
        assert_eq!((&row["username"], &row["pageIds"][0]), (&"billy".into(), &"p1".into()));
        assert_eq!((&row["totalBytesSent"], &row["recentBytesSent"]), (&60_009.into(), &4.into()));
    }
    client.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.closed_with(), 1000);
    let response = exchange_over(&mut authority.connect(server.admin), ask.as_bytes());
    assert_eq!(response.body, "[]");
}

#[test]
fn a_page_of_the_same_host_may_connect_over_tls_and_no_other() {
    let authority = Authority::new();
    let server = authority.server(&[]);
    let upgrade = |origin: &str| {
        let request =
            format!("GET /ws/p HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n{UPGRADE}\r\n", server.clients);
        exchange_over(&mut authority.connect(server.clients), request.as_bytes()).status
    };
    assert_eq!(upgrade("https://127.0.0.1"), 101);
    assert_eq!(upgrade("https://evil.example"), 403);
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    let server = authority.server(&[]);
    for version in [&TLS12, &TLS13] {
        let name = ServerName::from(server.clients.ip());
        let client = ClientConnection::new(authority.client_config(&[version]), name).unwrap();
        let stream = StreamOwned::new(client, dial(server.clients));
        let mut client = RawSocket::over(stream, "127.0.0.1", "/ws/p", "");
        client.barrier();
        assert_eq!(client.stream.conn.protocol_version(), Some(version.version));
    }
}

#[test]
fn a_message_that_comes_in_pieces_of_records_and_with_the_request_is_counted() {
    let authority = Authority::new();
    let server = authority.server(&[]);
    let mut stream = authority.connect(server.clients);
    // The request and the first message are one record.
    let mut early =
        format!("GET /ws/p?username=early HTTP/1.1\r\nHost: 127.0.0.1\r\n{UPGRADE}\r\n").into_bytes();
    early.extend(frame(0x81, b"early"));
    stream.write_all(&early).unwrap();
    server.row("early", |row| row["totalBytesSent"] == 5);
    // A record that arrives byte by byte is none until it is whole.
    let (client, mut socket) = (&mut stream.conn, &stream.sock);
    client.writer().write_all(&frame(0x82, &[1; 300])).unwrap();
    let mut record = Vec::new();
    client.write_tls(&mut record).unwrap();
    let (first, last) = record.split_at(record.len() - 1);
    for piece in first.chunks(50) {
        socket.write_all(piece).unwrap();
    }
    assert_eq!(server.row("early", |_| true)["totalBytesSent"], 5);
    socket.write_all(last).unwrap();
    server.row("early", |row| row["totalBytesSent"] == 305);
}

/// Nothing is read until the server takes no more, so that it has begun to send in parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_is_echoed_over_tls_comes_back_whole() {
    let authority = Authority::new();
    // A ping would come between the echoes, in one run of sixteen.
    let server = authority.server(&["--echo", "--heartbeat", "1h"]);
    let message = |n: usize| vec![u8::try_from(n % 251).unwrap(); 30_000 + n];
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(server.clients).await.unwrap();
    let connector = TlsConnector::from(authority.client_config(&[&TLS13]));
    let stream = connector.connect(server.clients.ip().into(), stream).await.unwrap();
    let url = format!("wss://{}/ws/p?username=flood", server.clients);
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let (mut writer, mut reader) = socket.split();
    // How much the system buffers is its own business: it is sent until nothing more is taken.
    let (sending, mut sent) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(async move {
        while !*stopped.borrow() {
            let n = *sending.borrow();
            writer.send(Message::binary(message(n))).await.unwrap();
            sending.send_replace(n + 1);
        }
        writer.send(Message::text("last")).await.unwrap();
        // Whoever drops its half has left.
        (*sending.borrow(), writer)
    });
    while tokio::time::timeout(Duration::from_secs(1), sent.changed()).await.is_ok() {}
    stop.send_replace(true);
    let mut came = 0;
    loop {
        match reader.next().await.unwrap().unwrap() {
            Message::Text(last) => break assert_eq!(last, "last"),
            echo => assert!(echo == Message::binary(message(came)), "{came}"),
        }
        came += 1;
    }
    let (sent, _writer) = writing.await.unwrap();
    assert_eq!(came, sent);
    let total: usize = 4 + (0..sent).map(|n| message(n).len()).sum::<usize>();
    server.row("flood", |row| row["totalBytesSent"] == total);
}

#[test]
fn a_client_that_reads_nothing_over_tls_is_a_slow_consumer() {
    let authority = Authority::new();
    let server = authority.server(&["--max-send-buffer-bytes=64KiB"]);
    let request = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let _deaf =
        RawSocket::over(authority.connect(server.clients), "127.0.0.1", "/ws/p?username=deaf", request);
    let id = server.row("deaf", |_| true)["id"].as_str().unwrap().to_owned();
    let payload = format!("\"{}\"", "x".repeat(100_000));
    eventually("the end of it", || {
        let sent = headcount()
            .args(["send", &id, "noise", &payload])
            .args(["--admin", &server.admin_url()])
            .output()
            .unwrap();
        if server.rows("").is_empty() { Ok(()) } else { Err(sent) }
    });
}

#[test]
fn an_end_of_the_stream_without_a_close_frame_is_a_loss_with_or_without_the_end_of_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--resume-window=30s"]);
    let is_lost = |user: &str| {
        eventually("a lost session", || {
            let listed = get(server.admin, &format!("/api/v1/sessions?username={user}"));
            let listed: Value = serde_json::from_str(&listed.body).unwrap();
            if listed["items"][0]["connected"] == false { Ok(()) } else { Err(listed) }
        });
    };
    let fin = authority.open(server.clients, "/ws/p?username=fin");
    fin.stream.sock.shutdown(Shutdown::Both).unwrap();
    is_lost("fin");
    let mut notify = authority.open(server.clients, "/ws/p?username=notify");
    notify.stream.conn.send_close_notify();
    notify.stream.conn.write_tls(&mut notify.stream.sock).unwrap();
    is_lost("notify");
    let mut garbage = authority.open(server.clients, "/ws/p?username=garbage");
    garbage.stream.sock.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    is_lost("garbage");
}

#[test]
fn a_handshake_that_is_never_finished_is_cut_and_gives_up_its_place() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls", "--request-timeout=1s"]);
    let hello = client_hello(&authority);
    for address in [server.clients, server.admin] {
        for begun in [&b""[..], &hello[..1], &hello[..hello.len() - 1], &hello] {
            let mut stream = dial(address);
            stream.write_all(begun).unwrap();
            let at = Instant::now();
            // Up to the server's end, or a reset, which is one too.
            let _ = stream.read_to_end(&mut Vec::new());
            let borne = at.elapsed().as_millis();
            assert!((900..5000).contains(&borne), "{borne} ms after {} bytes", begun.len());
        }
    }
}

#[test]
fn those_that_do_not_finish_their_handshake_keep_nobody_out_for_long() {
    let authority = Authority::new();
    let flags = authority.flags();
    authority.issue();
    // 64 descriptors: 8 places on the admin plane.
    let command = format!(
        "ulimit -n 64; exec {} serve --request-timeout=1s {} {}",
        env!("CARGO_BIN_EXE_headcount"),
        flags[0],
        flags[1]
    );
    let mut shell = std::process::Command::new("sh");
    let server = Server::start_by(shell.args(["-c", &command]));
    let _mute: Vec<_> = (0..30).map(|_| dial(server.admin)).collect();
    let ask = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin);
    let response = exchange_over(&mut authority.connect(server.admin), ask.as_bytes());
    assert_eq!(response.status, 200);
}

/// The first bytes of a handshake.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let mut client = ClientConnection::new(authority.client_config(&[&TLS13]), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn plain_http_is_told_that_the_port_speaks_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    for address in [server.clients, server.admin] {
        let request = format!("GET /ws/p HTTP/1.1\r\nHost: {address}\r\n{UPGRADE}\r\n");
        let refused = exchange(address, request.as_bytes());
        assert_eq!((refused.status, &*refused.error().0), (400, "tls_required"));
        assert!(refused.error().1.contains("https:// or wss://"), "{refused:?}");
    }
    // What is neither gets an alert, or nothing.
    let mut stream = dial(server.clients);
    stream.write_all(b"\0\0\0 neither\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < 10, "{answer:?}");
    let ask = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin);
    eventually("both among those that were dropped", || {
        let figures = exchange_over(&mut authority.connect(server.admin), ask.as_bytes()).body;
        let counted = "headcount_connections_dropped_total{reason=\"no_tls\"} 2\n";
        if figures.contains(counted) { Ok(()) } else { Err(figures) }
    });
}

/// A peer that gets no end of TLS has to take an answer for cut off, and strict ones do.
#[test]
fn an_answer_that_is_no_upgrade_ends_with_the_end_of_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    for (address, status) in [(server.clients, "200"), (server.admin, "200"), (server.clients, "404")] {
        let path = if status == "200" { "/healthz" } else { "/nothing" };
        let mut stream = authority.secure(dial(address)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[test]
fn a_proxy_s_header_comes_before_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--trusted-proxies=127.0.0.1", "--proxy-protocol"]);
    let mut stream = dial(server.clients);
    stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n").unwrap();
    let stream = authority.secure(stream).unwrap();
    let mut client = RawSocket::over(stream, "127.0.0.1", "/ws/p?username=ann", "");
    client.send(TEXT, b"four");
    client.barrier();
    let row = server.row("ann", |_| true);
    assert_eq!((&row["clientAddress"], &row["totalBytesSent"]), (&"203.0.113.7".into(), &4.into()));
    let mut without = dial(server.clients);
    without.write_all(&client_hello(&authority)).unwrap();
    let got: Result<usize, _> = without.read(&mut [0; 10]);
    assert!(matches!(got, Ok(0) | Err(_)), "a trusted proxy has to say whom it connects for");
}

#[test]
fn a_server_that_ends_says_so_over_tls() {
    let authority = Authority::new();
    let mut server = authority.server(&["--admin-tls"]);
    let mut client = authority.open(server.clients, "/ws/p");
    let mut query = authority.open(server.admin, "/query");
    // Somebody who has got no further than TCP holds nothing up.
    let _half_open: [TcpStream; 2] = [dial(server.clients), dial(server.admin)];
    server.signal("TERM");
    for socket in [&mut client, &mut query] {
        let (opcode, payload) = socket.receive().expect("a close frame");
        assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (CLOSE, 1001));
        socket.send(CLOSE, &1001_u16.to_be_bytes());
        // Not only TCP ends, TLS does: a client can tell it from an attack.
        assert_eq!(socket.stream.read(&mut [0; 10]).unwrap(), 0);
    }
    let (status, said) = server.ended();
    assert!(status.success() && said.contains("1 connections were open, 1 left, 0 were cut"), "{said}");
}

#[test]
fn a_ping_is_answered_over_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--heartbeat=200ms"]);
    let mut client = authority.open(server.clients, "/ws/p");
    let (opcode, payload) = client.receive_any().unwrap();
    assert_eq!(opcode, PING, "the server asks, too");
    client.send(PONG, &payload);
    client.send(PING, b"?");
    let answered = (0..10).any(|_| client.receive_any() == Some((PONG, b"?".to_vec())));
    assert!(answered);
}

/// What newcomers are shown on both planes.
fn seen(authority: &Authority, server: &Server) -> [CertificateDer<'static>; 2] {
    [server.clients, server.admin].map(|address| shown(&authority.connect(address)))
}

#[test]
fn a_new_certificate_is_for_newcomers_and_those_who_are_there_go_on() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    let mut old = authority.open(server.clients, "/ws/p?username=old");
    let first = shown(&old.stream);
    assert_eq!(seen(&authority, &server), [first.clone(), first.clone()]);
    authority.issue();
    eventually("another certificate on both planes", || match seen(&authority, &server) {
        [clients, admin] if clients != first && clients == admin => Ok(()),
        other => Err(other),
    });
    old.send(TEXT, b"still here");
    old.barrier();
    let ask = format!("GET /api/v1/session-info HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin);
    let rows = exchange_over(&mut authority.connect(server.admin), ask.as_bytes());
    assert!(rows.body.contains("\"totalBytesSent\":10,"), "{rows:?}");
}

#[test]
fn of_a_bad_new_pair_the_log_tells_and_the_old_one_is_shown() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    let first = seen(&authority, &server);
    let (certificate, key) = authority.sign(&["127.0.0.1"], 4000);
    let shown_of = |name: &str| authority.file(name).display().to_string();
    let stays = ["client", "admin"].map(|plane| {
        format!("the certificate and key of the {plane} plane cannot be read; those of before stay")
    });
    let told = || stays.each_ref().map(|words| server.has_said(words));
    let is_bad = |name: &str, text: &str, problem: String| {
        let before = told();
        authority.replace(name, text);
        // It is told when it changes and when somebody asks, and not whenever somebody looks.
        server.signal("HUP");
        eventually(&problem, || {
            let (now, said) = (told(), server.has_said(&problem));
            if now[0] > before[0] && now[1] > before[1] && said >= 2 { Ok(()) } else { Err((now, said)) }
        });
        assert_eq!(seen(&authority, &server), first);
    };
    is_bad("cert.pem", &certificate, format!("{} is not that of the certificate", shown_of("key.pem")));
    is_bad("cert.pem", "garbage", format!("the TLS certificate {} holds none as PEM", shown_of("cert.pem")));
    is_bad("cert.pem", "-----BEGIN CERTIFICATE-----\n", format!("{} cannot be read", shown_of("cert.pem")));
    authority.replace("cert.pem", &certificate);
    is_bad("key.pem", "", format!("the TLS key {} holds no private key", shown_of("key.pem")));
    authority.replace("key.pem", &key);
    eventually("the new pair", || {
        let seen = seen(&authority, &server);
        if seen[0] != first[0] && seen[0] == seen[1] { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn a_hangup_has_all_files_read_again_and_ends_nothing() {
    let authority = Authority::new();
    let tokens = authority.file("tokens");
    std::fs::write(&tokens, "").unwrap();
    let server = authority.server(&["--admin-tls", &format!("--admin-tokens={}", tokens.display())]);
    let mut client = authority.open(server.clients, "/ws/p");
    let read = |what: &str| server.has_said(&format!("{what} were read"));
    const ALL: [&str; 3] = [
        "the certificate and key of the client plane",
        "the certificate and key of the admin plane",
        "the tokens of administrators",
    ];
    eventually("the first reading", || if ALL.map(read) == [1; 3] { Ok(()) } else { Err(ALL.map(read)) });
    server.signal("HUP");
    eventually("another", || if ALL.map(read) == [2; 3] { Ok(()) } else { Err(ALL.map(read)) });
    client.barrier();
}

#[test]
fn a_certificate_that_is_out_of_date_is_warned_of_and_shown() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&["127.0.0.1"], 2001);
    authority.replace("old.pem", &certificate);
    authority.replace("old-key.pem", &key);
    let flag = |flag: &str, name: &str| format!("--{flag}={}", authority.file(name).display());
    let server = Server::start(&[&flag("tls-cert", "old.pem"), &flag("tls-key", "old-key.pem")]);
    assert!(authority.secure(dial(server.clients)).is_err(), "a client that looks at it will not have it");
    let (_, said) = server.terminate();
    assert!(said.contains("the TLS certificate has expired") && said.contains("old.pem"), "{said}");
}

#[test]
fn what_cannot_be_shown_keeps_the_server_from_starting() {
    let authority = Authority::new();
    authority.issue();
    let (_, other_key) = authority.sign(&["127.0.0.1"], 4000);
    authority.replace("other.pem", &other_key);
    authority.replace("empty.pem", "");
    let file = |name: &str| authority.file(name).display().to_string();
    let refuses = |arguments: &[String], says: &[&str]| {
        let output = headcount().arg("serve").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        for part in says {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    let pair = |certificate: &str, key: &str| {
        [format!("--tls-cert={}", file(certificate)), format!("--tls-key={}", file(key))]
    };
    refuses(&pair("cert.pem", "other.pem"), &["other.pem is not that of the certificate", "cert.pem"]);
    refuses(&pair("empty.pem", "key.pem"), &["the TLS certificate", "empty.pem holds none"]);
    refuses(
        &pair("cert.pem", "empty.pem"),
        &["the TLS key", "empty.pem holds no private key", "unencrypted"],
    );
    refuses(&pair("cert.pem", "nowhere.pem"), &["nowhere.pem cannot be read: No such file"]);
    refuses(&pair("nowhere.pem", "key.pem"), &["nowhere.pem cannot be read: No such file"]);
    refuses(&pair("cert.pem", "key.pem")[..1], &["tls-cert needs tls-key"]);
    refuses(&pair("cert.pem", "key.pem")[1..], &["tls-key needs tls-cert"]);
    let admin =
        [format!("--admin-tls-cert={}", file("cert.pem")), format!("--admin-tls-key={}", file("other.pem"))];
    refuses(&admin, &["other.pem is not that of the certificate"]);
}

#[test]
fn an_admin_plane_with_tokens_and_tls_listens_on_the_network() {
    let authority = Authority::new();
    let tokens = authority.file("tokens");
    std::fs::write(&tokens, "").unwrap();
    let tokens = format!("--admin-tokens={}", tokens.display());
    let server = authority.server(&["--admin-listen=0.0.0.0:0", "--admin-tls", &tokens]);
    let ask = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin);
    assert_eq!(exchange_over(&mut authority.connect(server.admin), ask.as_bytes()).status, 200);
    let flags = authority.flags();
    for (arguments, says) in [
        (&["--admin-listen=0.0.0.0:0", &*tokens][..], "give it TLS (--tls-cert and --tls-key)"),
        (&["--admin-listen=0.0.0.0:0", &flags[0], &flags[1]], "give it tokens (--admin-tokens"),
    ] {
        let output = headcount().arg("serve").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && said.contains("--insecure-admin"), "{said}");
    }
}

#[test]
fn the_start_tells_the_addresses_as_they_are_to_be_typed_in() {
    let authority = Authority::new();
    authority.issue();
    let flags = authority.flags();
    let says = |more: &[&str]| {
        let mut child = headcount()
            .args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", &flags[0], &flags[1]])
            .args(more)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<_> = lines.take(3).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.join("\n")
    };
    let both = says(&[]);
    for part in ["connect to  wss://127.0.0.1:", "ask  https://127.", "socket wss://", "--admin https://127."]
    {
        assert!(both.contains(part), "{part}: {both}");
    }
    let one = says(&["--admin-tls=false"]);
    for part in ["connect to  wss://127.0.0.1:", "ask  http://127.", "socket ws://", "--admin http://127."] {
        assert!(one.contains(part), "{part}: {one}");
    }
}

#[test]
fn the_command_line_asks_over_tls_and_says_what_it_does_not_trust() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    let mut client = authority.open(server.clients, "/ws/p?username=billy");
    client.send(TEXT, b"hello");
    client.barrier();
    let (https, ca) = (format!("https://{}", server.admin), authority.ca_file().display().to_string());
    let run = |admin: &str, more: &[&str], environment: &[(&str, &str)]| {
        let mut command = headcount();
        command.args(["sessions", "-o", "ndjson", "--admin", admin]).args(more);
        let output = command.env_remove("SSL_CERT_DIR").envs(environment.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let wss = https.replace("https", "wss");
    for (admin, more, environment) in [
        (&https, &["--ca-file", &*ca][..], &[][..]),
        (&wss, &[], &[("HEADCOUNT_CA_FILE", &*ca)]),
        // What the machine trusts, here said as OpenSSL lets it be said.
        (&https, &[], &[("SSL_CERT_FILE", &*ca)]),
    ] {
        let (code, shown, said) = run(admin, more, environment);
        assert_eq!((code, &*said), (0, ""), "{more:?} {environment:?}");
        assert!(shown.contains("\"totalBytesSent\":5,"), "{shown}");
    }
    let fails = |admin: &str, more: &[&str], expected: i32, says: &[&str]| {
        let stranger = Authority::new();
        let known = stranger.ca_file().display().to_string();
        let (code, _, said) = run(admin, more, &[("SSL_CERT_FILE", &known)]);
        assert_eq!((code, said.lines().count()), (expected, 1), "{said}");
        for part in says {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    let address = server.admin.to_string();
    fails(&https, &[], 4, &[&address, "not trusted: no authority that is trusted here", "--ca-file"]);
    let other_name = https.replace("127.0.0.1", "127.0.0.2");
    let named = Server::start(&["--admin-listen=127.0.0.2:0", &authority.flags()[0], &authority.flags()[1]]);
    let other_name = other_name.replace(&server.admin.port().to_string(), &named.admin.port().to_string());
    fails(
        &other_name,
        &["--ca-file", &ca],
        4,
        &["not trusted: certificate not valid for name \"127.0.0.2\""],
    );
    fails(&format!("http://{address}"), &[], 4, &["400", "this port speaks TLS"]);
    let plain = Server::start(&[]);
    fails(&format!("https://{}", plain.admin), &["--ca-file", &ca], 4, &["it does not speak TLS"]);
    let key = authority.file("key.pem").display().to_string();
    fails(&https, &["--ca-file", &key], 2, &["ca-file", &key, "holds no certificate"]);
    fails(&https, &["--ca-file", "/nowhere.pem"], 2, &["ca-file /nowhere.pem cannot be read: No such file"]);
}

#[test]
fn the_load_harness_finds_the_server_exact_over_tls() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls", "--echo", "--resume-window=30s"]);
    let (wss, https) = (format!("wss://{}", server.clients), format!("https://{}", server.admin));
    let load = |ca: &Authority, more: &[&str]| {
        let ca = ca.ca_file();
        let command = ["load", &wss, "--admin", &https, "--sessions", "40", "--duration", "2", "--ca-file"];
        headcount().args(command).arg(ca).args(more).output().unwrap()
    };
    let churn = ["--churn", "50%", "--drop", "0.2", "--resume", "--tabs", "2", "--settle", "10"];
    for more in [&["--bytes=0-60000"][..], &churn] {
        let output = load(&authority, &[&["--rate", "20", "--verify"], more].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains(" 0 off") && said.contains("40 of 40 connected"), "{said}");
    }
    let strange = load(&Authority::new(), &[]);
    let said = String::from_utf8(strange.stdout).unwrap();
    assert_eq!(strange.status.code(), Some(1), "{said}");
    assert!(said.contains("handshake: the certificate is not trusted"), "{said}");
}

#[test]
fn a_script_asks_over_https() {
    let authority = Authority::new();
    let server = authority.server(&["--admin-tls"]);
    let _client = authority.open(server.clients, "/ws/p?username=billy");
    let Some(python) = tool("python3", program("python3", "--version")) else { return };
    let script = "import system; print(len(system.perspective.getSessionInfo('billy')))";
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .env("PYTHONPATH", root().join("src/sdk/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HEADCOUNT_ADMIN", format!("https://{}", server.admin))
        .env("SSL_CERT_FILE", authority.ca_file())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "{said}");
}
