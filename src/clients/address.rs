//! Where a client comes from (PROTOCOL 2.3): its own address, or what trusted proxies say of it.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, HeaderName, header};

use crate::config::{ForwardedHeader, ProxyConfig, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sends us the bytes of a connection, as far as we can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Whether it is a trusted proxy, whose word on others is taken.
    pub(super) is_trusted: bool,
    /// Who has made the connection, for whomever.
    pub(super) connected_from: IpAddr,
}

impl Peer {
    /// Whoever has this address.
    pub(super) fn at(address: IpAddr, trusted: &TrustedProxies) -> Self {
        // An IPv4 client of a dual-stack listener is that IPv4 client.
        let address = address.to_canonical();
        Self { address, is_trusted: trusted.contains(address), connected_from: address }
    }

    /// The client that this request is for.
    ///
    /// The addresses that proxies wrote are walked from the right, which is the nearest: as long as one is a trusted
    /// proxy's, what it wrote to its left is taken. The client can have written all that is left of its own. What
    /// cannot be read ends the walk at the last good address.
    pub(super) fn client(self, headers: &HeaderMap, proxies: &ProxyConfig) -> IpAddr {
        if !self.is_trusted {
            return self.address;
        }
        let (name, form) = match proxies.forwarded_header {
            ForwardedHeader::None => return self.address,
            ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, Form::Plain),
            ForwardedHeader::Forwarded => (header::FORWARDED, Form::Elements),
        };
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let mut client = self;
        // Several lines are one list (RFC 9110, 5.3).
        for line in lines.into_iter().rev() {
            // What is no text spoils its own entry alone: it may be the client's, and the rest the proxies'.
            if !client.walk(&String::from_utf8_lossy(line.as_bytes()), form, &proxies.trusted) {
                break;
            }
        }
        client.address
    }

    /// Walks over one line; answers whether the walk goes on in the line before it.
    fn walk(&mut self, line: &str, form: Form, trusted: &TrustedProxies) -> bool {
        let step = |address: Option<IpAddr>| {
            let Some(address) = address else { return false };
            *self = Self::at(address, trusted);
            self.is_trusted
        };
        match form {
            Form::Plain => by_comma(line).map(plain).all(step),
            Form::Elements => Elements(line).map(forwarded_for).all(step),
        }
    }
}

/// How addresses are written in a header.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Elements,
}

/// The entries of a line, the last first. Empty ones are none (RFC 9110, 5.6.1).
fn by_comma(line: &str) -> impl Iterator<Item = &str> {
    line.rsplit(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// An address as it stands in `X-Forwarded-For`; some proxies write the port too.
fn plain(entry: &str) -> Option<IpAddr> {
    entry.parse().ok().or_else(|| node(entry))
}

/// The elements of a `Forwarded` line, the last first, split at the commas that are not quoted.
///
/// Read from its end: what the nearest proxy wrote is well formed, and what is left of it may be anything, an open
/// quote among it, which read from the left would swallow all.
struct Elements<'a>(&'a str);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.0.is_empty() {
            let element;
            (self.0, element) = match unquoted(self.0, b',').next() {
                Some(at) => (&self.0[..at], &self.0[at + 1..]),
                None => ("", self.0),
            };
            let element = element.trim();
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Where this byte stands outside quotes, as seen from the right, the last first.
fn unquoted(text: &str, wanted: u8) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    (0..bytes.len()).rev().filter(move |at| {
        let escapes = || bytes[..*at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if bytes[*at] == b'"' && !(quoted && escapes() % 2 == 1) {
            quoted = !quoted;
        }
        bytes[*at] == wanted && !quoted
    })
}

/// The address in the `for` of an element (RFC 7239, 4); none if there is none, or two.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut end = element.len();
    for start in unquoted(element, b';').map(Some).chain([None]) {
        let pair = &element[start.map_or(0, |at| at + 1)..end];
        let (name, value) = pair.split_once('=').unwrap_or_default();
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
        end = start.unwrap_or(0);
    }
    node(&unquote(found?)?)
}

fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(value.into());
    };
    let mut chars = inner.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?),
            '"' => return None,
            c => text.push(c),
        }
    }
    Some(text.into())
}

/// A node of RFC 7239, 6: an IPv4 address, or an IPv6 address in brackets, with or without a port. `unknown` and
/// obfuscated names are no addresses.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port): (IpAddr, _) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address)
}

fn is_port(port: &str) -> bool {
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    is_number || port.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(obfuscated))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn proxies(forwarded_header: ForwardedHeader) -> ProxyConfig {
        let trusted = TrustedProxies::read(&["10.0.0.0/8", "fd00::/8"]).unwrap();
        ProxyConfig { trusted, forwarded_header, proxy_protocol: false }
    }

    /// What comes of these lines of both headers, from a proxy at 10.0.0.1.
    #[track_caller]
    fn walk(header: ForwardedHeader, lines: &[&str], expected: &str) {
        let proxies = proxies(header);
        let mut headers = HeaderMap::new();
        let (own, other) = match header {
            ForwardedHeader::Forwarded => (header::FORWARDED, X_FORWARDED_FOR),
            _ => (X_FORWARDED_FOR, header::FORWARDED),
        };
        headers.append(other, HeaderValue::from_static("for=6.6.6.6"));
        for line in lines {
            headers.append(&own, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let peer = Peer::at("::ffff:10.0.0.1".parse().unwrap(), &proxies.trusted);
        let found = peer.client(&headers, &proxies);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{lines:?}");
    }

    #[track_caller]
    fn x_forwarded_for(lines: &[&str], expected: &str) {
        walk(ForwardedHeader::XForwardedFor, lines, expected);
    }

    #[track_caller]
    fn forwarded(lines: &[&str], expected: &str) {
        walk(ForwardedHeader::Forwarded, lines, expected);
    }

    #[test]
    fn x_forwarded_for_is_walked_from_the_right_to_the_first_that_is_not_trusted() {
        x_forwarded_for(&[], "10.0.0.1");
        x_forwarded_for(&["203.0.113.7"], "203.0.113.7");
        x_forwarded_for(&["6.6.6.6, 203.0.113.7"], "203.0.113.7");
        x_forwarded_for(&["6.6.6.6, 203.0.113.7, 10.2.2.2, fd00::2"], "203.0.113.7");
        x_forwarded_for(&["6.6.6.6", "203.0.113.7", "10.2.2.2"], "203.0.113.7");
        x_forwarded_for(&["10.3.3.3, 10.2.2.2"], "10.3.3.3");
        x_forwarded_for(&[" 203.0.113.7 ,,\t10.2.2.2, "], "203.0.113.7");
        x_forwarded_for(&["2001:db8::7"], "2001:db8::7");
        x_forwarded_for(&["::ffff:203.0.113.7"], "203.0.113.7");
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        x_forwarded_for(&["203.0.113.7:4711"], "203.0.113.7");
        x_forwarded_for(&["[2001:db8::7]"], "2001:db8::7");
        x_forwarded_for(&["[2001:db8::7]:4711"], "2001:db8::7");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_last_good_address() {
        for garbage in [
            "unknown",
            "_hidden",
            "-",
            "203.0.113",
            "203.0.113.007",
            "203.0.113.7:",
            "203.0.113.7:x",
            "203.0.113.7:123456",
            "[203.0.113.7]",
            "[2001:db8::7",
            "fe80::1%eth0",
            "\"203.0.113.7\"",
            "203.0.113.7 10.2.2.2",
            "☃",
            "for=203.0.113.7",
        ] {
            x_forwarded_for(&[&format!("6.6.6.6, {garbage}")], "10.0.0.1");
            x_forwarded_for(&[&format!("6.6.6.6, {garbage}, 10.2.2.2")], "10.2.2.2");
            x_forwarded_for(&["6.6.6.6", garbage, "10.2.2.2"], "10.2.2.2");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        forwarded(&[], "10.0.0.1");
        forwarded(&["for=203.0.113.7"], "203.0.113.7");
        forwarded(&["For=\"203.0.113.7:4711\";proto=https; by=10.0.0.1"], "203.0.113.7");
        forwarded(&["proto=https;FOR=\"[2001:db8::7]:4711\""], "2001:db8::7");
        forwarded(&["for=\"[2001:db8::7]\""], "2001:db8::7");
        forwarded(&["for=\"\\2\\03.0.113.7\""], "203.0.113.7");
        forwarded(&["for=\"203.0.113.7:_port\""], "203.0.113.7");
        forwarded(&["for=6.6.6.6, for=203.0.113.7;by=\"a,b;for=6.6.6.6\" , for=10.2.2.2"], "203.0.113.7");
        forwarded(&["for=6.6.6.6", "for=203.0.113.7", "for=10.2.2.2,"], "203.0.113.7");
    }

    #[test]
    fn an_obfuscated_or_broken_forwarded_element_ends_the_walk() {
        for garbage in [
            "for=unknown",
            "for=\"unknown:80\"",
            "for=_hidden",
            "for=\"_gazonk\"",
            "proto=https",
            "for",
            "for=",
            "for=\"\"",
            "for=203.0.113.7;for=10.2.2.3",
            "for=\"2001:db8::7\"",
            "for=\"[2001:db8::7]:x\"",
            "for=\"[2001:db8::7\"",
            "for=\"203.0.113.7",
            "for=203.0.113.7\"",
            "for=\"203.0.113.7\\\"",
            "203.0.113.7",
        ] {
            forwarded(&[&format!("for=6.6.6.6, {garbage}, for=10.2.2.2")], "10.2.2.2");
            forwarded(&["for=6.6.6.6", garbage], "10.0.0.1");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_own_entry_alone() {
        let proxies = proxies(ForwardedHeader::XForwardedFor);
        let line = HeaderValue::from_bytes(b"\xff, 203.0.113.7, 10.2.2.2").unwrap();
        let headers: HeaderMap = [(X_FORWARDED_FOR, line)].into_iter().collect();
        let peer = Peer::at("10.0.0.1".parse().unwrap(), &proxies.trusted);
        assert_eq!(peer.client(&headers, &proxies), "203.0.113.7".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_client_s_open_quote_does_not_swallow_what_proxies_wrote() {
        for open in ["for=\"", "for=\"a", "for=\"\\", "for=\"x\\\"", "\"", "for=\"6.6.6.6\\"] {
            forwarded(&[&format!("{open}, for=203.0.113.7, for=10.2.2.2")], "203.0.113.7");
            forwarded(&[&format!("{open}, for=\"203.0.113.7:80\";by=\"\\\"x\"")], "203.0.113.7");
        }
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let proxies = proxies(ForwardedHeader::XForwardedFor);
        let headers: HeaderMap =
            [(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.7"))].into_iter().collect();
        let peer = Peer::at("192.0.2.1".parse().unwrap(), &proxies.trusted);
        assert_eq!(peer.client(&headers, &proxies), peer.address);
        walk(ForwardedHeader::None, &["203.0.113.7"], "10.0.0.1");
    }
}
