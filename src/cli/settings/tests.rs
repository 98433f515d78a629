use std::time::Duration;

use super::*;

fn settings(file: &str) -> Settings {
    toml::from_str(file).unwrap()
}

#[test]
fn a_file_sets_what_the_flags_leave_open() {
    let flags = settings("listen = '127.0.0.1:1'");
    let file = settings(
        "listen = '127.0.0.1:2'\nmax-message-bytes = '1KiB'\nmax-sessions = 0\ngrace-period = '250ms'",
    );
    let checked = flags.or(file).check(20_000).unwrap();
    assert_eq!(checked.listen.port(), 1);
    assert_eq!(checked.config.clients.max_message_bytes, 1024);
    assert_eq!(checked.config.clients.rules.limits.max_sessions, None);
    assert_eq!(checked.config.drain.grace_period, Duration::from_millis(250));
}

#[test]
fn sessions_leave_descriptors_for_the_rest() {
    let limit = |descriptors| {
        settings("").check(descriptors).unwrap().config.clients.rules.limits.max_sessions.unwrap()
    };
    assert_eq!(limit(20_000), 18_656);
    assert_eq!(limit(1_024), 704);
    assert_eq!(limit(200), 86);
    assert_eq!(limit(0), 1);
    assert_eq!(limit(1 << 30), 100_000);
}

#[track_caller]
fn refused(file: &str, expected: &str) {
    match settings(file).check(20_000) {
        Err(Failure::Usage(message)) => assert!(message.contains(expected), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_setting_is_named() {
    refused("listen = 'x'", "listen \"x\" is no address");
    refused("admin-listen = 'plant:8081'", "admin-listen \"plant:8081\" is no address");
    refused("admin-listen = '0.0.0.0:8081'", "--insecure-admin");
    refused("admin-listen = '0.0.0.0:8081'\nadmin-tokens = 'tokens'", "give it TLS");
    refused("tls-cert = 'c'", "tls-cert needs tls-key");
    refused("listen = '[::]:8080'", "--identity open");
    refused("max-message-bytes = 0", "max-message-bytes");
    refused("max-concurrent-lists = 0", "max-concurrent-lists must be more than 0");
    refused("max-list-time = '0s'", "max-list-time must be more than 0");
    refused("snapshot-max-age = '11s'", "snapshot-max-age must be 10s at most");
    refused("write-timeout = '0s'", "write-timeout must be more than 0");
    refused("heartbeat = '0s'", "heartbeat must be more than 0");
    refused("heartbeat = '25h'", "heartbeat must be at most 24 h");
    refused("drain-spread = '6s'", "drain-spread 6s is longer than grace-period 5s");
    for bad in ["https://hmi.example/", "hmi.example", "*", "https://*", "null", "https://a@b", ""] {
        refused(&format!("allowed-origins = ['{bad}']"), "allowed-origins");
        refused(&format!("admin-allowed-origins = ['{bad}']"), "admin-allowed-origins");
    }
    for bad in ["plant:8081", "http://plant", "fd00::1", "a b", "*", ""] {
        refused(&format!("allowed-hosts = ['{bad}']"), "allowed-hosts");
    }
}

#[test]
fn two_planes_at_one_address_are_refused_with_both_settings() {
    let one = |listen: &str, admin_listen: &str| {
        let file = format!("listen = '{listen}'\nadmin-listen = '{admin_listen}'\nidentity = 'open'\n");
        settings(&format!("{file}insecure-admin = true")).check(20_000).map(drop)
    };
    for (listen, admin_listen) in [
        ("127.0.0.1:8080", "localhost:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::1]:8080", "[::]:8080"),
    ] {
        match one(listen, admin_listen) {
            Err(Failure::Usage(said)) => {
                let both = format!("listen {listen} and admin-listen {admin_listen} are one address");
                assert!(said.starts_with(&both.replace("localhost", "127.0.0.1")), "{said}");
            }
            other => panic!("{listen} {admin_listen}: {other:?}"),
        }
    }
    refused("listen = '127.0.0.1:8081'", "admin-listen 127.0.0.1:8081");
    for (listen, admin_listen) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:8080", "127.0.0.2:8080"),
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("[::1]:8080", "127.0.0.1:8080"),
    ] {
        assert!(one(listen, admin_listen).is_ok(), "{listen} {admin_listen}");
    }
}

#[test]
fn an_admin_plane_with_tokens_and_tls_may_listen_on_the_network() {
    let file = "admin-listen = '0.0.0.0:8081'\nadmin-tokens = 't'\ntls-cert = 'c'\ntls-key = 'k'";
    assert!(settings(file).check(20_000).is_ok());
    match settings(&format!("{file}\nadmin-tls = false")).check(20_000) {
        Err(Failure::Usage(message)) => assert!(message.contains("in the clear"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_lists_are_trimmed_and_kept_apart() {
    let file = "allowed-origins = ['https://a.example', ' http://10.0.0.5:3000']\nallowed-hosts = ['plant', '[fd00::1]']";
    let config = settings(file).check(20_000).unwrap().config;
    assert_eq!(config.clients.allowed_origins, ["https://a.example", "http://10.0.0.5:3000"]);
    assert!(config.admin.allowed_origins.is_empty());
    assert_eq!(config.admin.allowed_hosts, ["plant", "[fd00::1]"]);
}

#[test]
fn more_sessions_than_descriptors_are_warned_of() {
    assert_eq!(settings("max-sessions = 900").check(1_000).unwrap().warnings.len(), 1);
    assert!(settings("max-sessions = 100").check(1_000).unwrap().warnings.is_empty());
}
