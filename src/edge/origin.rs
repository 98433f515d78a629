//! Who may ask from a browser: the `Origin` rule of both planes, and the `Host` rule that keeps DNS rebinding
//! off the admin plane (PROTOCOL 3.2). Together: no web page that an operator happens to visit gets an answer.

use std::net::IpAddr;

use http::{HeaderMap, StatusCode, Uri, header, uri::Authority};

use super::refusal::Refusal;

/// Refuses a browser's request to the client plane that comes from another host's page, unless its origin is on the list.
///
/// A missing `Origin` is a client that is no browser. `null` never matches.
///
/// # Errors
///
/// 403, naming the origin and the way to allow it.
pub(crate) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    check_origin_by(headers, allowed, "--allowed-origins")
}

/// The same to the admin plane, which has a list of its own.
///
/// # Errors
///
/// Likewise.
pub(crate) fn check_admin_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    check_origin_by(headers, allowed, "--admin-allowed-origins")
}

/// By the list of this setting.
fn check_origin_by(headers: &HeaderMap, allowed: &[String], setting: &str) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let text = origin.to_str().unwrap_or_default();
    let listed = || allowed.iter().any(|entry| entry.eq_ignore_ascii_case(text));
    if text != "null" && headers.get_all(header::ORIGIN).iter().count() == 1 {
        let own = host_header(headers);
        let page = text.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        if page.is_some_and(|page| own.is_some_and(|own| same_host(page.host(), own.host()))) || listed() {
            return Ok(());
        }
    }
    let message = if text == "null" {
        // A file, a sandboxed frame, a redirect: it could be anybody's, so no list can name it.
        "pages without an origin of their own (Origin: null) may not connect, and cannot be allowed; serve the page \
         from a host"
            .to_owned()
    } else {
        let shown: String = text.chars().take(200).collect();
        format!("pages from origin {shown:?} may not connect; {setting} names those that may")
    };
    Err(Refusal::new(StatusCode::FORBIDDEN, "origin_not_allowed", message))
}

/// Refuses a request whose `Host` is not ours: an address of the listener, `localhost`, or on the list.
///
/// # Errors
///
/// 403, naming the host and the way to allow it.
pub(crate) fn check_host(
    uri: &Uri,
    headers: &HeaderMap,
    local: IpAddr,
    allowed: &[String],
) -> Result<(), Refusal> {
    // A request line with a whole URL overrides the header (RFC 9112, 3.2.2).
    let host = uri.authority().cloned().or_else(|| host_header(headers));
    let name = host.as_ref().map_or("", Authority::host);
    let ours = is_localhost(name)
        || address(name).is_some_and(|host| host.to_canonical() == local.to_canonical())
        || allowed.iter().any(|entry| entry.eq_ignore_ascii_case(name));
    if ours {
        return Ok(());
    }
    let shown: String = name.chars().take(200).collect();
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "host_not_allowed",
        format!("host {shown:?} is not this server's; --allowed-hosts names further ones"),
    ))
}

/// `Host`, if there is exactly one and it reads as one.
pub(crate) fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?.parse().ok()?;
    hosts.next().is_none().then_some(host)
}

/// The ports may differ: an application's pages often come from another port of the same host.
/// `localhost` and the loopback addresses are one host.
fn same_host(page: &str, own: &str) -> bool {
    let loopback = |host| is_localhost(host) || address(host).is_some_and(|ip| ip.is_loopback());
    page.eq_ignore_ascii_case(own) || (loopback(page) && loopback(own))
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[track_caller]
    fn origin(host: &str, origin: Option<&str>, expected: bool) {
        let allowed = ["https://hmi.example".to_owned()];
        let found = check_origin(&headers(host, origin), &allowed);
        assert_eq!(found.is_ok(), expected, "{origin:?} to {host}");
    }

    #[test]
    fn only_pages_of_the_same_host_or_on_the_list_may_connect() {
        origin("plant:8080", None, true);
        origin("plant:8080", Some("http://plant:8080"), true);
        origin("plant:8080", Some("https://PLANT"), true);
        origin("plant:8080", Some("https://hmi.example"), true);
        origin("127.0.0.1:8080", Some("http://localhost:5173"), true);
        origin("[::1]:8080", Some("http://127.0.0.1"), true);
        origin("plant:8080", Some("http://evil.example"), false);
        origin("plant:8080", Some("http://plant.evil.example"), false);
        origin("plant:8080", Some("http://hmi.example"), false);
        origin("plant:8080", Some("http://localhost"), false);
        origin("plant:8080", Some("null"), false);
        origin("plant:8080", Some(""), false);
        origin("plant:8080", Some("plant:8080"), false);
    }

    #[test]
    fn null_stays_out_even_when_somebody_lists_it() {
        assert!(check_origin(&headers("plant", Some("null")), &["null".to_owned()]).is_err());
    }

    #[test]
    fn a_refused_page_is_told_the_list_of_its_plane_and_a_null_one_that_none_helps() {
        let said = |check: fn(&HeaderMap, &[String]) -> Result<(), Refusal>, origin: &str| {
            check(&headers("plant", Some(origin)), &[]).unwrap_err().message
        };
        for (check, names) in [
            (check_origin as fn(&_, &_) -> _, "; --allowed-origins"),
            (check_admin_origin, "; --admin-allowed-origins"),
        ] {
            let message = said(check, "https://evil.example");
            assert!(message.contains(names) && message.contains("https://evil.example"), "{message}");
            let message = said(check, "null");
            assert!(message.contains("cannot be allowed") && !message.contains("--"), "{message}");
        }
    }

    #[track_caller]
    fn host(host: &str, expected: bool) {
        let found = check_host(
            &Uri::from_static("/"),
            &headers(host, None),
            IpAddr::from([127, 0, 0, 1]),
            &["admin.plant".to_owned()],
        );
        assert_eq!(found.is_ok(), expected, "{host}");
    }

    #[test]
    fn a_rebound_name_is_not_this_server() {
        host("127.0.0.1:8081", true);
        host("127.0.0.1", true);
        host("localhost:9000", true);
        host("Admin.Plant:8081", true);
        host("evil.example:8081", false);
        host("127.0.0.2:8081", false);
        host("localhost.evil.example", false);
        host("", false);
    }

    #[test]
    fn a_dual_stack_listener_is_itself_over_ipv4() {
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let found = check_host(&Uri::from_static("/"), &headers("127.0.0.1:1", None), mapped, &[]);
        assert!(found.is_ok());
    }

    #[test]
    fn a_whole_url_in_the_request_line_is_what_counts() {
        let uri = Uri::from_static("http://evil.example/query");
        let local = IpAddr::from([127, 0, 0, 1]);
        assert!(check_host(&uri, &headers("localhost", None), local, &[]).is_err());
    }
}
