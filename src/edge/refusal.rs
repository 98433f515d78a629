//! The answer to a request that is not served: `{"error":{"code":…,"message":…}}` (PROTOCOL 2.1 and 3.2).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// The body of every answer made here.
pub(crate) type Body = Full<Bytes>;

/// Why a request is not served, in words for a person and a code for a program.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// A header that the status calls for, such as `Allow` or `Retry-After`.
    extra: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), extra: None }
    }

    pub(crate) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = format!("this path answers {allowed} only");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).with(header::ALLOW, allowed)
    }

    pub(crate) fn draining() -> Self {
        let message = "the server is shutting down; connect again in a few seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message).retry_after()
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.extra = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// Tells the client when to try again, in seconds.
    pub(crate) fn retry_after(self) -> Self {
        self.with(header::RETRY_AFTER, "5")
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({"error": {"code": self.code, "message": self.message}}).to_string()
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = json(self.status, self.to_json());
        if let Some((name, value)) = self.extra {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        self.into_response().map(axum::body::Body::new)
    }
}

/// A JSON answer that no cache keeps and no other site's page can use as something else.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
