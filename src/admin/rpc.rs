//! JSON-RPC 2.0, text in and text out (PROTOCOL 3.1).

use std::{
    time::{Duration, Instant},
    vec,
};

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use super::source::{PART_BYTES, Source, Unanswered, Workshop, part_buffer};

/// The most requests in one batch.
pub(super) const MAX_BATCH: usize = 50;

/// A longer text is read off the sockets' threads.
const LONG_TEXT: usize = 32 * 1024;

/// What can be called.
pub(super) trait Procedures {
    /// Carries out a request, and writes its result, or answers where that comes from.
    ///
    /// # Errors
    ///
    /// What the caller is told; what was written is void.
    fn call(
        &self,
        method: &str,
        params: Option<&RawValue>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Box<dyn Source>>, Error>;

    /// Where large results are made.
    fn workshop(&self) -> &Workshop;

    /// A request was answered, or the first part of its answer was made, after so long.
    fn asked(&self, method: &str, took: Duration, is_error: bool);
}

/// The answer to one text, made part by part.
///
/// The requests of a batch are carried out one after the other, each when the answer to the one before it has been
/// handed over. So an answer of any size, and a batch of any of them, needs the memory of a part.
pub(super) struct Answer<P> {
    procedures: P,
    requests: vec::IntoIter<Result<Request, Fault>>,
    is_batch: bool,
    /// What has been answered so far.
    answered: usize,
    /// The result that is being written.
    source: Option<Box<dyn Source>>,
}

/// Why a request is none, and the id to answer to if one could be made out.
type Fault = (Option<Box<RawValue>>, Error);

impl<P: Procedures> Answer<P> {
    /// Reads a text; what is wrong with it is the answer.
    pub(super) async fn to(procedures: P, text: impl AsRef<str> + Send + 'static) -> Self {
        let read = if text.as_ref().len() <= LONG_TEXT {
            Ok(read(text.as_ref()))
        } else {
            tokio::task::spawn_blocking(move || read(text.as_ref())).await
        };
        let (requests, is_batch) =
            read.unwrap_or_else(|_| (vec![Err((None, Unanswered::Failed.into()))], false));
        Self { procedures, requests: requests.into_iter(), is_batch, answered: 0, source: None }
    }

    /// Writes the next part; `false` if it is the last. An answer that is empty as a whole is none.
    ///
    /// # Errors
    ///
    /// The answer cannot be finished; what was handed over of it is worth nothing.
    pub(super) async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<bool, Unanswered> {
        loop {
            if self.source.is_some() {
                self.procedures.workshop().make_part(&mut self.source, false, out).await?;
                if self.source.is_none() {
                    out.push(b'}');
                }
            } else if let Some(request) = self.requests.next() {
                self.begin(request, out).await;
            } else {
                if self.is_batch && self.answered > 0 {
                    out.push(b']');
                }
                return Ok(false);
            }
            if out.len() >= PART_BYTES {
                return Ok(true);
            }
        }
    }

    /// The parts that are left, each made when it is asked for.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Unanswered>> {
        futures::stream::unfold(Some(self), |answer| async {
            let mut answer = answer?;
            let mut out = part_buffer();
            Some(match answer.write_part(&mut out).await {
                Ok(more) => (Ok(out.into()), more.then_some(answer)),
                Err(why) => (Err(why), None),
            })
        })
    }

    /// Carries a request out, and writes the beginning of its answer: all of it, unless there is a source then.
    async fn begin(&mut self, request: Result<Request, Fault>, out: &mut Vec<u8>) {
        let before = out.len();
        match (self.is_batch, self.answered) {
            (false, _) => {}
            (true, 0) => out.push(b'['),
            (true, _) => out.push(b','),
        }
        let at = out.len();
        let id = match request {
            Err((id, error)) => {
                write_error(id.as_deref(), &error, out);
                self.answered += 1;
                return;
            }
            Ok(request) => {
                open_response(request.id.as_deref(), out);
                out.extend_from_slice(b"\"result\":");
                let began = Instant::now();
                let carried_out = self.carry_out(&request, out).await;
                self.procedures.asked(&request.method, began.elapsed(), carried_out.is_err());
                match carried_out {
                    Ok(()) if self.source.is_some() => {}
                    Ok(()) => out.push(b'}'),
                    Err(error) => {
                        out.truncate(at);
                        write_error(request.id.as_deref(), &error, out);
                    }
                }
                request.id
            }
        };
        // A notification is carried out and not answered, not even with its error.
        if id.is_none() {
            self.source = None;
            out.truncate(before);
        } else {
            self.answered += 1;
        }
    }

    /// Writes the result, or as much of it as is a part and keeps the source of the rest.
    async fn carry_out(&mut self, request: &Request, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(source) = self.procedures.call(&request.method, request.params.as_deref(), out)? else {
            return Ok(());
        };
        if request.id.is_some() || source.has_effect() {
            self.source = Some(source);
            self.procedures.workshop().make_part(&mut self.source, true, out).await?;
        }
        Ok(())
    }
}

/// The requests in a text, and whether they are a batch.
fn read(text: &str) -> (Vec<Result<Request, Fault>>, bool) {
    let one = |fault: Error| (vec![Err((None, fault))], false);
    if !text.trim_start_matches(is_json_space).starts_with('[') {
        return (vec![Request::read(text)], false);
    }
    let batch: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(batch) => batch,
        Err(error) => return one(Error::parse(&error)),
    };
    if batch.is_empty() {
        return one(Error::invalid_request("a batch holds at least one request"));
    }
    if batch.len() > MAX_BATCH {
        let message = format!("a batch holds at most {MAX_BATCH} requests, this one {}", batch.len());
        return one(Error::new(Error::LIMIT, message));
    }
    (batch.into_iter().map(|request| Request::read(request.get())).collect(), true)
}

/// The answer to a message that cannot even be read as text, or is too large to.
pub(super) fn failure(error: &Error) -> Vec<u8> {
    let mut out = Vec::new();
    write_error(None, error, &mut out);
    out
}

/// A request as it came. The id is kept as it was written: `1.0` is answered as `1.0`.
#[derive(Debug)]
struct Request {
    id: Option<Box<RawValue>>,
    method: String,
    params: Option<Box<RawValue>>,
}

impl Request {
    /// # Errors
    ///
    /// What is wrong, and the id to answer to if one could be made out.
    fn read(text: &str) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Members {
            #[serde(default, deserialize_with = "present")]
            id: Option<Box<RawValue>>,
            jsonrpc: Option<Value>,
            method: Option<Value>,
            #[serde(default, deserialize_with = "present")]
            params: Option<Box<RawValue>>,
        }
        let members: Members = serde_json::from_str(text).map_err(|error| {
            // Good JSON of the wrong shape is an invalid request; anything else is no JSON.
            let error = match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) if !is_object(text) => Error::invalid_request("a request is an object"),
                Ok(_) => Error::invalid_request(error.to_string()),
                Err(error) => Error::parse(&error),
            };
            (None, error)
        })?;
        // serde takes an array for a struct.
        if !is_object(text) {
            return Err((None, Error::invalid_request("a request is an object")));
        }
        let Members { id, jsonrpc, method, params } = members;
        let is_id = |id: &RawValue| id.get() == "null" || !id.get().starts_with(['t', 'f', '[', '{']);
        if id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err((None, Error::invalid_request("id must be a string, a number or null")));
        }
        // The specification answers a request that is none, even without an id.
        let fail = |id: Option<Box<RawValue>>, message| Err((id, Error::invalid_request(message)));
        if jsonrpc != Some(Value::from("2.0")) {
            return fail(id, r#"jsonrpc must be "2.0""#);
        }
        let Some(Value::String(method)) = method else {
            return fail(id, "method must be a string");
        };
        if params.as_deref().is_some_and(|raw| !raw.get().starts_with(['[', '{', 'n'])) {
            return fail(id, "params must be an array or an object");
        }
        Ok(Self { id, method, params })
    }
}

/// Tells `"id":null`, which is answered, from no id, which is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// A JSON-RPC error.
#[derive(Debug)]
pub(super) struct Error {
    code: i32,
    message: String,
}

impl Error {
    const PARSE: i32 = -32700;
    const INVALID_REQUEST: i32 = -32600;
    pub(super) const METHOD_NOT_FOUND: i32 = -32601;
    const INVALID_PARAMS: i32 = -32602;
    pub(super) const INTERNAL: i32 = -32603;
    pub(super) const NOT_AUTHORISED: i32 = -32001;
    pub(super) const NOT_FOUND: i32 = -32002;
    const OVERLOADED: i32 = -32003;
    pub(super) const LIMIT: i32 = -32004;

    /// Every code, and when it is said.
    pub(super) const CODES: [(i32, &'static str); 9] = [
        (Self::PARSE, "this is no JSON"),
        (Self::INVALID_REQUEST, "this is JSON, and no request"),
        (Self::METHOD_NOT_FOUND, "there is no such method"),
        (Self::INVALID_PARAMS, "the parameters cannot be meant so"),
        (Self::INTERNAL, "a fault of the server"),
        (Self::NOT_AUTHORISED, "the token lacks what this needs"),
        (Self::NOT_FOUND, "there is no such session, page or list"),
        (Self::OVERLOADED, "too many large answers are being made; ask again in some seconds"),
        (Self::LIMIT, "the request is over a limit"),
    ];

    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn parse(error: &dyn std::error::Error) -> Self {
        Self::new(Self::PARSE, format!("this is not JSON: {error}"))
    }

    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_REQUEST, message)
    }

    pub(super) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    pub(super) fn too_large(bytes: usize, max: usize) -> Self {
        Self::new(Self::LIMIT, format!("a request may have {max} bytes at most, this one {bytes}"))
    }
}

impl From<Unanswered> for Error {
    fn from(why: Unanswered) -> Self {
        let code = match why {
            Unanswered::Overloaded => Self::OVERLOADED,
            Unanswered::TooCostly(_) => Self::LIMIT,
            Unanswered::Failed => Self::INTERNAL,
        };
        Self::new(code, why.to_string())
    }
}

fn open_response(id: Option<&RawValue>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.map_or("null", RawValue::get).as_bytes());
    out.push(b',');
}

fn write_error(id: Option<&RawValue>, error: &Error, out: &mut Vec<u8>) {
    open_response(id, out);
    let error = serde_json::json!({"code": error.code, "message": error.message});
    out.extend_from_slice(format!("\"error\":{error}}}").as_bytes());
}

fn is_object(text: &str) -> bool {
    text.trim_start_matches(is_json_space).starts_with('{')
}

fn is_json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests;
