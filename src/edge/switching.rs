//! From HTTP to a WebSocket (RFC 6455, 4.2): what a request has to say for that, and the answer.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::refusal::{Body, Refusal};

/// The 101 that is owed to a request which asks for a WebSocket as RFC 6455 wants it asked.
#[derive(Debug)]
pub(crate) struct Switching {
    accept_key: String,
    subprotocol: Option<&'static str>,
}

impl Switching {
    /// # Errors
    ///
    /// 405, 426 or 400: what the request lacks.
    pub(crate) fn for_request<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let headers = request.headers();
        let lacks = |what: &str| {
            let message = format!("this path speaks WebSocket (RFC 6455): {what}");
            Err(upgrade_required(message).with(header::UPGRADE, "websocket"))
        };
        if request.method() != Method::GET {
            return Err(Refusal::method_not_allowed("GET"));
        }
        if request.version() < Version::HTTP_11 {
            return lacks("ask with HTTP/1.1");
        }
        if !lists(headers, header::UPGRADE, "websocket") {
            return lacks("ask with Upgrade: websocket");
        }
        if !lists(headers, header::CONNECTION, "upgrade") {
            return lacks("ask with Connection: Upgrade");
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let message = "Sec-WebSocket-Version must be 13";
            return Err(upgrade_required(message).with(header::SEC_WEBSOCKET_VERSION, "13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
        if !is_key(key) {
            let message = "Sec-WebSocket-Key must be 16 bytes in base64";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_handshake", message));
        }
        Ok(Self { accept_key: derive_accept_key(key), subprotocol: None })
    }

    /// Chooses a subprotocol, which the client has offered.
    pub(crate) fn choose(&mut self, subprotocol: &'static str) {
        self.subprotocol = Some(subprotocol);
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, &str)> {
        let always = [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, &*self.accept_key),
        ];
        let chosen = self.subprotocol.map(|subprotocol| (header::SEC_WEBSOCKET_PROTOCOL, subprotocol));
        always.into_iter().chain(chosen)
    }

    /// As it goes over the wire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.headers() {
            for part in [name.as_str(), ": ", value, "\r\n"] {
                head.extend_from_slice(part.as_bytes());
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// For hyper to send.
    pub(crate) fn to_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in self.headers() {
            let value = HeaderValue::from_str(value).expect("text of this program");
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn upgrade_required(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
}

/// Whether these are 16 bytes in base64 (RFC 6455, 4.2.1).
fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    // The length first: decoding it takes as long as it is.
    key.len() == 24 && BASE64.decode_mut(key, &mut bytes) == Ok(16)
}

/// Whether a header that is a list, over however many lines, has this word in any letter case.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether the client offers this subprotocol.
pub(crate) fn offers(headers: &HeaderMap, subprotocol: &str) -> bool {
    offered(headers).any(|offered| offered == subprotocol)
}

/// The subprotocols that the client offers.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    items(headers, header::SEC_WEBSOCKET_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::handshake::server::{create_response, write_response};

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get("/ws/demo");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    const USUAL: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// What tungstenite, which looks at the first line of a list only, makes of a request in which one header is this.
    #[track_caller]
    fn alike(name: &str, value: Option<&str>) {
        let headers = USUAL.iter().filter(|(usual, _)| *usual != name).copied();
        let headers: Vec<_> = headers.chain(value.map(|value| (name, value))).collect();
        let request = request(&headers);
        let theirs = create_response(&request).ok().map(|response| {
            let mut bytes = Vec::new();
            write_response(&mut bytes, &response).unwrap();
            bytes
        });
        let ours = Switching::for_request(&request).ok().map(|switching| switching.to_bytes());
        assert_eq!(ours, theirs, "{name}: {value:?}");
    }

    #[test]
    fn a_request_is_judged_and_answered_as_tungstenite_does() {
        for (name, value) in USUAL {
            alike(name, Some(value));
            alike(name, None);
        }
        for (name, values) in [
            ("upgrade", &["WebSocket", "h2c", ""][..]),
            ("connection", &["keep-alive, Upgrade", "keep-alive,UPGRADE", "keep-alive", "Upgraded"]),
            ("sec-websocket-version", &["8", "13 ", "013", ""]),
            (
                "sec-websocket-key",
                &[
                    "AAAAAAAAAAAAAAAAAAAAAA==",
                    "/+8AAAAAAAAAAAAAAAAAAA==",
                    // Bits that are nobody's, another alphabet, no padding, 15 bytes, 17 and 18.
                    "AAAAAAAAAAAAAAAAAAAAAB==",
                    "_-8AAAAAAAAAAAAAAAAAAA==",
                    "AAAAAAAAAAAAAAAAAAAAAA",
                    "AAAAAAAAAAAAAAAAAAAA",
                    "AAAAAAAAAAAAAAAAAAAAAAA=",
                    "AAAAAAAAAAAAAAAAAAAAAAAA",
                    "",
                ],
            ),
        ] {
            values.iter().for_each(|value| alike(name, Some(value)));
        }
    }

    #[test]
    fn a_list_may_be_over_several_lines() {
        let [upgrade, connection, version, key] = USUAL;
        let lines = [("upgrade", "h2c"), upgrade, ("connection", "keep-alive"), connection, version, key];
        assert!(Switching::for_request(&request(&lines)).is_ok());
    }

    #[test]
    fn what_hyper_sends_is_the_same() {
        let mut switching = Switching::for_request(&request(&USUAL)).unwrap();
        switching.choose("headcount.v1");
        let mut bytes = Vec::new();
        write_response(&mut bytes, &switching.to_response()).unwrap();
        assert_eq!(switching.to_bytes(), bytes);
        assert!(String::from_utf8(bytes).unwrap().contains("\r\nsec-websocket-protocol: headcount.v1\r\n"));
    }
}
