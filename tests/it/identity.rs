//! Who a client is, by its own word, by a token or by a proxy's, over real sockets.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::harness::{RawSocket, Response, Server, TEXT, UPGRADE, eventually, headcount, request, root};

pub(crate) fn upgrade(server: &Server, target: &str, headers: &str) -> Response {
    request(server.clients, "GET", target, &format!("{UPGRADE}{headers}"), "")
}

/// The one session's name, address, and whether it is authorized.
#[track_caller]
pub(crate) fn only_row(server: &Server) -> (String, String, bool) {
    let rows = server.rows("");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let text = |key: &str| rows[0][key].as_str().unwrap().to_owned();
    (text("username"), text("clientAddress"), rows[0]["authorized"] == Value::Bool(true))
}

/// What is known of a client that brings these headers.
#[track_caller]
pub(crate) fn seen_as(server: &Server, target: &str, headers: &str) -> (String, String, bool) {
    server.empties();
    let _client = RawSocket::open_with(server.clients, target, headers);
    only_row(server)
}

#[track_caller]
pub(crate) fn is(found: &(String, String, bool), expected: (&str, &str, bool)) {
    assert_eq!((&*found.0, &*found.1, found.2), expected);
}

#[test]
fn headers_of_whoever_is_not_trusted_are_not_heeded() {
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-User: root\r\n";
    for arguments in [
        &[][..],
        &["--trusted-proxies=10.0.0.0/8"],
        &["--trusted-proxies=10.0.0.0/8", "--identity=header"],
        &["--trusted-proxies=127.0.0.2", "--identity=header", "--forwarded-header=forwarded"],
    ] {
        let server = Server::start(arguments);
        is(&seen_as(&server, "/ws/p", spoofed), ("Unauthenticated", "127.0.0.1", false));
    }
}

#[test]
fn a_trusted_proxy_names_the_user() {
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--identity=header"]);
    let claimed = "/ws/p?username=eve";
    let named = seen_as(&server, claimed, "X-Forwarded-User: Zo\u{eb}\r\nX-Forwarded-For: 203.0.113.7\r\n");
    is(&named, ("Zo\u{eb}", "203.0.113.7", true));
    is(&seen_as(&server, claimed, "X-Forwarded-User: \r\n"), ("Unauthenticated", "127.0.0.1", false));
    is(&seen_as(&server, claimed, ""), ("Unauthenticated", "127.0.0.1", false));
    for (headers, problem) in [
        ("X-Forwarded-User: ann\r\nX-Forwarded-User: eve\r\n".to_owned(), "is given twice"),
        (format!("X-Forwarded-User: {}\r\n", "x".repeat(257)), "is too long"),
    ] {
        let refused = upgrade(&server, claimed, &headers);
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_identity"));
        assert!(refused.error().1.contains(problem), "{}", refused.body);
    }
}

#[test]
fn a_named_user_may_be_required() {
    let server = Server::start(&[
        "--trusted-proxies=127.0.0.1",
        "--identity=header",
        "--identity-header=Remote-User",
        "--require-identity",
    ]);
    for headers in ["", "X-Forwarded-User: ann\r\n", "Remote-User: Unauthenticated\r\n"] {
        let refused = upgrade(&server, "/ws/p?username=ann", headers);
        assert_eq!((refused.status, &*refused.error().0), (403, "identity_required"), "{headers}");
    }
    is(&seen_as(&server, "/ws/p", "remote-user: ann\r\n"), ("ann", "127.0.0.1", true));
}

/// Keys that are in the repository, so they prove nothing to anybody.
fn fixture(name: &str) -> String {
    root().join(format!("tests/fixtures/jwt/test-only-{name}.pem")).to_str().unwrap().to_owned()
}

fn key(name: &str) -> (Algorithm, EncodingKey) {
    let pem = fs::read(fixture(&format!("{name}-private"))).unwrap();
    match name {
        "ec" => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem).unwrap()),
        "ed25519" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem).unwrap()),
        _ => (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem).unwrap()),
    }
}

fn unix_now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// A token of this user that expires in so many seconds, signed by this key.
fn token(by: &str, user: &str, seconds: f64) -> String {
    let (algorithm, key) = key(by);
    let claims = json!({"sub": user, "exp": unix_now() + seconds});
    encode(&Header::new(algorithm), &claims, &key).unwrap()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A server that takes tokens of this key.
fn jwt_server(key: &str, more: &[&str]) -> Server {
    let file = format!("--jwt-key-file={}", fixture(&format!("{key}-public")));
    Server::start(&[&["--identity=jwt", &file], more].concat())
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("identity-{}-{name}", std::process::id()))
}

#[test]
fn a_token_is_taken_in_each_of_three_ways_and_never_echoed() {
    let server = jwt_server("ec", &[]);
    let token = token("ec", "ann", 60.0);
    let offer = |list: String| format!("Sec-WebSocket-Protocol: {list}\r\n");
    let ways = [
        ("/ws/p?username=eve".to_owned(), bearer(&token), None),
        (format!("/ws/p?access_token={token}"), String::new(), None),
        ("/ws/p".to_owned(), offer(format!("headcount.bearer.{token}")), None),
        ("/ws/p".to_owned(), offer(format!("headcount.bearer.{token}, headcount.v1")), Some("headcount.v1")),
    ];
    for (target, headers, chosen) in ways {
        server.empties();
        let client = RawSocket::open_with(server.clients, &target, &headers);
        is(&only_row(&server), ("ann", "127.0.0.1", true));
        assert_eq!(client.response.header("sec-websocket-protocol"), chosen);
        assert!(!format!("{:?}", client.response).contains(&token));
    }
    let twice = upgrade(&server, &format!("/ws/p?access_token={token}"), &bearer(&token));
    assert_eq!((twice.status, &*twice.error().0), (400, "several_tokens"));
}

#[test]
fn each_kind_of_key_is_read_from_its_file() {
    for kind in ["rsa", "ec", "ed25519"] {
        let (algorithm, signer) = key(kind);
        let mut jwk = Jwk::from_encoding_key(&signer, algorithm).unwrap();
        jwk.common.key_id = Some("today".to_owned());
        let jwks = scratch(&format!("{kind}.json"));
        fs::write(&jwks, json!({"keys": [jwk]}).to_string()).unwrap();
        let file = format!("--jwt-key-file={}", jwks.display());
        for server in [jwt_server(kind, &[]), Server::start(&["--identity=jwt", &file])] {
            is(&seen_as(&server, "/ws/p", &bearer(&token(kind, "ann", 60.0))), ("ann", "127.0.0.1", true));
            assert_eq!(upgrade(&server, "/ws/p", &bearer(&token("other-rsa", "ann", 60.0))).status, 401);
        }
        fs::remove_file(jwks).unwrap();
    }
    let file = scratch("secret");
    fs::write(&file, format!("{}\n", "s".repeat(40))).unwrap();
    let server = Server::start(&["--identity=jwt", &format!("--jwt-secret-file={}", file.display())]);
    let claims = json!({"sub": "ann", "exp": unix_now() + 60.0});
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret("s".repeat(40).as_bytes()));
    is(&seen_as(&server, "/ws/p", &bearer(&token.unwrap())), ("ann", "127.0.0.1", true));
    fs::remove_file(file).unwrap();
}

#[test]
fn a_bad_token_is_refused_with_whether_it_has_expired_and_no_more() {
    let server = jwt_server("rsa", &[]);
    let refused = |token: &str| {
        let response = upgrade(&server, "/ws/p", &bearer(token));
        assert_eq!(response.status, 401, "{token}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
        response.error()
    };
    let invalid = ("token_invalid".to_owned(), "the token is not valid here".to_owned());
    let good = token("rsa", "ann", 60.0);
    let forged = encode(
        &Header::default(),
        &json!({"sub": "ann", "exp": unix_now() + 60.0}),
        &EncodingKey::from_secret(&fs::read(fixture("rsa-public")).unwrap()),
    );
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    for bad in [
        "",
        "garbage",
        &good[..good.len() - 4],
        &unsigned,
        &forged.unwrap(),
        &token("other-rsa", "ann", 60.0),
        &token("other-rsa", "ann", -60.0),
        &token("ec", "ann", 60.0),
        &token("rsa", "", 60.0),
    ] {
        assert_eq!(refused(bad), invalid, "{bad}");
    }
    assert_eq!(refused(&token("rsa", "ann", -0.01)).0, "token_expired");
    assert!(server.rows("").is_empty());
}

#[test]
fn who_the_token_is_for_and_its_claim_are_configured() {
    let server = jwt_server("ec", &["--jwt-audience=hmi,plant", "--jwt-issuer=me", "--jwt-claim=name"]);
    let (algorithm, key) = key("ec");
    let status = |claims: Value| {
        let token = encode(&Header::new(algorithm), &claims, &key).unwrap();
        upgrade(&server, "/ws/p", &bearer(&token)).status
    };
    let exp = unix_now() + 60.0;
    assert_eq!(status(json!({"name": "ann", "exp": exp, "aud": ["x", "plant"], "iss": "me"})), 101);
    assert_eq!(status(json!({"name": "ann", "exp": exp, "aud": "x", "iss": "me"})), 401);
    assert_eq!(status(json!({"name": "ann", "exp": exp, "iss": "me"})), 401);
    assert_eq!(status(json!({"name": "ann", "exp": exp, "aud": "hmi", "iss": "you"})), 401);
    assert_eq!(status(json!({"sub": "ann", "exp": exp, "aud": "hmi", "iss": "me"})), 401);
    assert_eq!(status(json!({"name": "ann", "aud": "hmi", "iss": "me"})), 401);
}

#[test]
fn whoever_brings_no_token_is_nobody_or_stays_out() {
    let server = jwt_server("ec", &[]);
    let spoofed = "X-Forwarded-User: ann\r\nAuthorization: Basic YW5uOmFubg==\r\n";
    is(&seen_as(&server, "/ws/p?username=ann", spoofed), ("Unauthenticated", "127.0.0.1", false));
    let server = jwt_server("ec", &["--require-identity"]);
    let refused = upgrade(&server, "/ws/p?username=ann", spoofed);
    assert_eq!((refused.status, &*refused.error().0), (401, "identity_required"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    is(&seen_as(&server, "/ws/p", &bearer(&token("ec", "ann", 60.0))), ("ann", "127.0.0.1", true));
}

fn last_ended(server: &Server) -> Value {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"getHistory","params":{"limit":1}}"#;
    let answer = request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", body).body;
    serde_json::from_str::<Value>(&answer).unwrap()["result"]["items"][0].clone()
}

#[test]
fn authorized_ends_with_the_token_and_the_session_after_the_grace() {
    let server = jwt_server("ec", &["--token-grace=1s"]);
    // It expires a second after it is made, which is at some moment in between.
    let earliest = unix_now() + 1.0;
    let token = token("ec", "ann", 1.0);
    let expires = unix_now() + 1.0;
    let mut client = RawSocket::open_with(server.clients, "/ws/p", &bearer(&token));
    let mut seen = Vec::new();
    while unix_now() < expires + 0.5 {
        let before = unix_now();
        let authorized = only_row(&server).2;
        let after = unix_now();
        // The clocks are read in whole milliseconds.
        assert!(authorized || after > earliest - 0.005, "{after} is before {earliest}");
        assert!(!authorized || before < expires + 0.005, "{before} is after {expires}");
        seen.push(authorized);
    }
    assert!(seen.starts_with(&[true]) && seen.ends_with(&[false]));
    client.send(TEXT, b"still counted");
    client.barrier();
    assert_eq!(client.closed_with(), 4005);
    let late = unix_now() - earliest - 1.0;
    assert!((-0.05..1.0).contains(&late), "{late}");
    let ended = last_ended(&server);
    assert_eq!((&ended["reason"], &ended["authorized"]), (&json!("token-expired"), &json!(false)));
    assert_eq!((&ended["username"], &ended["totalBytesSent"]), (&json!("ann"), &json!(13)));
}

#[test]
fn a_newer_token_renews_the_session() {
    let server = jwt_server("ec", &["--token-grace=500ms"]);
    let v1 = |token: &str| format!("{}Sec-WebSocket-Protocol: headcount.v1\r\n", bearer(token));
    let mut first = RawSocket::open_with(server.clients, "/ws/p?pageId=a", &v1(&token("ec", "ann", 1.0)));
    let welcome: Value = serde_json::from_slice(&first.receive().unwrap().1).unwrap();
    let resume = format!("/ws/p?pageId=b&resumeToken={}", welcome["resumeToken"].as_str().unwrap());
    let _second = RawSocket::open_with(server.clients, &resume, &v1(&token("ec", "ann", 4.0)));
    let _other = RawSocket::open_with(server.clients, &resume, &v1(&token("ec", "eve", 60.0)));
    let ann = || server.rows("usernameFilter=ann");
    assert_eq!((ann()[0]["activePages"].clone(), server.rows("").len()), (json!(2), 2));
    std::thread::sleep(Duration::from_millis(1800));
    assert_eq!(ann()[0]["authorized"], true, "the second tab's token counts");
    first.barrier();
    assert_eq!(first.closed_with(), 4005);
    eventually("her end", || if ann().is_empty() { Ok(()) } else { Err(ann()) });
    assert_eq!(last_ended(&server)["reason"], "token-expired");
}

#[test]
fn changed_keys_are_read_without_a_restart_and_bad_ones_are_not() {
    let file = scratch("keys.pem");
    let put = |name: &str| {
        let fresh = scratch("keys.new");
        fs::write(&fresh, fs::read(fixture(name)).unwrap()).unwrap();
        fs::rename(fresh, &file).unwrap();
    };
    put("rsa-public");
    let server = Server::start(&["--identity=jwt", &format!("--jwt-key-file={}", file.display())]);
    let status = |by: &str| upgrade(&server, "/ws/p", &bearer(&token(by, "ann", 60.0))).status;
    assert_eq!((status("rsa"), status("ec")), (101, 401));
    put("rsa-private");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((status("rsa"), status("ec")), (101, 401), "the keys of before stay");
    put("ec-public");
    eventually("the new key", || match status("ec") {
        101 => Ok(()),
        status => Err(status),
    });
    assert_eq!(status("rsa"), 401);
    let (_, said) = server.terminate();
    assert!(said.contains("private key, which belongs to whoever signs"), "{said}");
    assert_eq!(said.matches("those of before stay").count(), 1, "{said}");
    fs::remove_file(file).unwrap();
}

#[test]
fn a_token_is_in_no_log() {
    let server = jwt_server("ec", &["--log=trace"]);
    let good = token("ec", "ann", 60.0);
    let bad = token("rsa", "ann", 60.0);
    for token in [&good, &bad, &"secret.token".to_owned()] {
        upgrade(&server, &format!("/ws/p?access_token={token}"), "");
        upgrade(&server, &format!("/ws/p?access_token={token}&access_token={token}"), "");
        upgrade(&server, &format!("/ws/p?ACCESS_TOKEN={token}"), "");
        upgrade(&server, &format!("/ws/?access_token={token}"), "");
        upgrade(&server, "/ws/p", &bearer(token));
        upgrade(&server, "/ws/p", &format!("Sec-WebSocket-Protocol: headcount.bearer.{token}\r\n"));
    }
    let (_, said) = server.terminate();
    assert!(said.contains("no key of ours") || said.contains("a token was refused"), "{said}");
    for part in [&good, &bad].iter().flat_map(|token| token.split('.')).chain(["secret.token"]) {
        assert!(!said.contains(part), "{part} in {said}");
    }
}

#[test]
fn an_identity_that_could_not_work_is_refused_before_anything_is_bound() {
    let cases = [
        (vec!["--identity=jwt".to_owned()], "identity jwt needs jwt-key-file"),
        (
            vec!["--identity=jwt".to_owned(), "--jwt-key-file=/nowhere".to_owned()],
            "jwt-key-file /nowhere: No such",
        ),
        (
            vec!["--identity=jwt".to_owned(), format!("--jwt-key-file={}", fixture("rsa-private"))],
            "give the public one",
        ),
        (
            vec!["--identity=jwt".to_owned(), format!("--jwt-secret-file={}", fixture("rsa-public"))],
            "give public ones as jwt-key-file",
        ),
        (vec!["--jwt-key-file=keys".to_owned()], "jwt-key-file needs identity jwt"),
        (vec!["--identity=header".to_owned()], "identity header needs trusted-proxies"),
        (vec!["--trusted-proxies=0.0.0.0/0".to_owned()], "trusted-proxies 0.0.0.0/0 is so wide"),
        (vec!["--proxy-protocol".to_owned()], "proxy-protocol needs trusted-proxies"),
    ];
    for (arguments, expected) in cases {
        let output = headcount().arg("serve").args(&arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_environment_and_the_file_say_it_too() {
    let file = scratch("config.toml");
    let text = format!(
        "identity = 'jwt'\njwt-key-file = '{}'\ntrusted-proxies = ['127.0.0.0/8']\n",
        fixture("ec-public")
    );
    fs::write(&file, text).unwrap();
    let server = Server::start_by(
        headcount().arg("serve").arg("--config").arg(&file).env("HEADCOUNT_FORWARDED_HEADER", "forwarded"),
    );
    let headers = format!("{}Forwarded: for=203.0.113.7\r\n", bearer(&token("ec", "ann", 60.0)));
    is(&seen_as(&server, "/ws/p", &headers), ("ann", "203.0.113.7", true));
    fs::remove_file(file).unwrap();
}
