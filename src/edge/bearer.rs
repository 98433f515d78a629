//! Where a client or an administrator puts a token (PROTOCOL 2.3 and 3.2).

use http::{HeaderMap, StatusCode, header};

use super::{refusal::Refusal, switching};

/// A subprotocol that begins so is a token: it is the one header that a page can set. It is never chosen.
const SUBPROTOCOL: &str = "headcount.bearer.";

/// The token of a request; an empty one is one, and never good.
///
/// # Errors
///
/// 400, if there are several (RFC 6750, 2): whose is the session then?
pub(crate) fn find<'a>(
    headers: &'a HeaderMap,
    access_token: Option<&'a str>,
) -> Result<Option<&'a [u8]>, Refusal> {
    let authorization =
        headers.get_all(header::AUTHORIZATION).iter().filter_map(|line| bearer(line.as_bytes()));
    let subprotocols = switching::offered(headers)
        .filter_map(|offered| offered.strip_prefix(SUBPROTOCOL))
        .map(str::as_bytes);
    let mut found = authorization.chain(subprotocols).chain(access_token.map(str::as_bytes));
    let token = found.next();
    if found.next().is_some() {
        let message = "give one token, in one way: Authorization, the subprotocol, or access_token";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "several_tokens", message));
    }
    Ok(token)
}

/// The credentials of `Authorization`, if they are of the scheme `Bearer`. Those of others are not for us.
fn bearer(line: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer";
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    let is_whole = rest.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(SCHEME) && is_whole).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(lines: &[(HeaderName, &str)], parameter: Option<&str>, expected: Result<Option<&str>, ()>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let found = find(&headers, parameter).map_err(|refusal| assert_eq!(refusal.code, "several_tokens"));
        assert_eq!(found, expected.map(|token| token.map(str::as_bytes)), "{lines:?}");
    }

    #[test]
    fn a_token_is_given_in_one_of_three_ways() {
        let authorization = |value| (header::AUTHORIZATION, value);
        let offers = |value| (header::SEC_WEBSOCKET_PROTOCOL, value);
        check(&[], None, Ok(None));
        check(&[], Some("a.b.c"), Ok(Some("a.b.c")));
        check(&[authorization("Bearer a.b.c")], None, Ok(Some("a.b.c")));
        check(&[authorization("bEARER   a.b.c ")], None, Ok(Some("a.b.c")));
        check(&[offers("headcount.v1, headcount.bearer.a.b.c")], None, Ok(Some("a.b.c")));
        check(&[offers("headcount.bearer.a.b.c"), offers("headcount.v1")], None, Ok(Some("a.b.c")));
        check(&[authorization("Bearer")], None, Ok(Some("")));
        check(&[authorization("Bearer ☃")], None, Ok(Some("☃")));
        check(&[offers("headcount.bearer.")], None, Ok(Some("")));
        check(&[], Some(""), Ok(Some("")));
        check(&[authorization("Basic a"), authorization("Bearerx a"), offers("chat")], None, Ok(None));
        check(&[authorization("Basic a")], Some("a.b.c"), Ok(Some("a.b.c")));
    }

    #[test]
    fn two_tokens_are_none_even_if_they_are_the_same() {
        let authorization = (header::AUTHORIZATION, "Bearer a");
        let offers = (header::SEC_WEBSOCKET_PROTOCOL, "headcount.bearer.a");
        check(&[authorization.clone(), offers.clone()], None, Err(()));
        check(&[authorization.clone(), authorization.clone()], None, Err(()));
        check(&[offers.clone(), offers.clone()], None, Err(()));
        check(&[authorization], Some("a"), Err(()));
        check(&[offers], Some(""), Err(()));
    }
}
