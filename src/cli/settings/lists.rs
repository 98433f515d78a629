//! Addresses, and the lists of origins and hosts.

use std::net::SocketAddr;

use crate::cli::Failure;

/// An address to listen on.
///
/// # Errors
///
/// What is none, and how to write one.
pub(super) fn address(name: &str, text: &str) -> Result<SocketAddr, Failure> {
    // Tests and habit say localhost; no other name may decide which network is listened on.
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
        Failure::Usage(format!("{name} {text:?} is no address: write it like 127.0.0.1:8080 or [::]:8080"))
    })
}

/// The planes listen at two addresses: the second would else be told that its port is in use, by whom it cannot know.
///
/// # Errors
///
/// Both settings, if they name one port of one address. Port 0 is any that is free, so that two of these differ.
pub(super) fn two_addresses(listen: SocketAddr, admin_listen: SocketAddr) -> Result<(), Failure> {
    let (clients, admin) = (listen.ip(), admin_listen.ip());
    let is_every =
        (clients.is_unspecified() || admin.is_unspecified()) && clients.is_ipv4() == admin.is_ipv4();
    if listen.port() == 0 || listen.port() != admin_listen.port() || !(clients == admin || is_every) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "listen {listen} and admin-listen {admin_listen} are one address: give each plane a port of its own"
    )))
}

/// Origins as a browser writes them: one that could never match would be a hole in somebody's plan.
pub(super) fn origins(name: &str, list: Option<Vec<String>>) -> Result<Vec<String>, Failure> {
    let list: Vec<_> = list.unwrap_or_default().iter().map(|entry| entry.trim().to_owned()).collect();
    for entry in &list {
        let good = entry.parse::<http::Uri>().is_ok_and(|uri| {
            let host = uri.host().unwrap_or_default();
            let written = format!(
                "{}://{}",
                uri.scheme_str().unwrap_or_default(),
                uri.authority().map_or("", |a| a.as_str())
            );
            !host.is_empty()
                && !host.contains('*')
                && written.eq_ignore_ascii_case(entry)
                && !entry.contains('@')
        });
        if !good {
            return Err(Failure::Usage(format!(
                "{name} {entry:?} is no origin: write it like https://hmi.example or http://10.0.0.5:3000"
            )));
        }
    }
    Ok(list)
}

/// Host names and addresses without a port: `Host` is compared without its port.
pub(super) fn hosts(list: Option<Vec<String>>) -> Result<Vec<String>, Failure> {
    let list: Vec<_> = list.unwrap_or_default().iter().map(|entry| entry.trim().to_owned()).collect();
    for entry in &list {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let v6 = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let good = v6.is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok())
            || (!entry.is_empty() && entry.chars().all(named));
        if !good {
            return Err(Failure::Usage(format!(
                "allowed-hosts {entry:?} is no host name: write it like admin.plant or [fd00::1], without a port"
            )));
        }
    }
    Ok(list)
}
