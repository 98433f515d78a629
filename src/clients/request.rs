//! A request that came whole, read at once: by the parser that hyper has too, without what hyper has around it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use httparse::{EMPTY_HEADER, Status};

use crate::edge::accept::MAX_REQUEST_HEAD;

/// Hyper takes no more.
const MAX_HEADERS: usize = 100;

/// The request that is at the beginning of these bytes, and how many of them it has. `None` if it is not all there, or
/// if hyper might have something to say of it.
pub(super) fn usual(bytes: &Bytes) -> Option<(Request<()>, usize)> {
    let mut room = [EMPTY_HEADER; MAX_HEADERS];
    let mut read = httparse::Request::new(&mut room);
    let Ok(Status::Complete(head)) = read.parse(bytes) else { return None };
    if head > MAX_REQUEST_HEAD || read.method != Some("GET") || read.version != Some(1) {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(read.path?.as_bytes())).ok()?;
    *request.headers_mut() = HeaderMap::with_capacity(read.headers.len());
    for line in &*read.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        // Shares the memory of all that was read.
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?;
        request.headers_mut().append(name, value);
    }
    // Nothing may come after the head.
    let has_body = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| request.headers().contains_key(name));
    (!has_body).then_some((request, head))
}
