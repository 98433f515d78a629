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
mod tests {
    use serde_json::json;

    use super::{super::calls::arguments, *};

    /// Stands for all methods: answers with its parameters, or fails.
    #[derive(Clone)]
    struct Echo(Workshop);

    impl Procedures for Echo {
        fn call(
            &self,
            method: &str,
            params: Option<&RawValue>,
            out: &mut Vec<u8>,
        ) -> Result<Option<Box<dyn Source>>, Error> {
            let [a, b] = arguments(params, &["a", "b"])?;
            match method {
                "echo" => serde_json::to_writer(out, &(a, b)).unwrap(),
                "many" => return Ok(Some(Box::new(Many { left: 50_000 }))),
                "fault" => return Ok(Some(Box::new(Many { left: -1 }))),
                _ => return Err(Error::new(Error::METHOD_NOT_FOUND, "no such method")),
            }
            Ok(None)
        }

        fn workshop(&self) -> &Workshop {
            &self.0
        }

        fn asked(&self, _: &str, _: Duration, _: bool) {}
    }

    /// A result of many parts, or a fault.
    struct Many {
        left: i32,
    }

    impl Source for Many {
        fn looks(&self) -> usize {
            100_000
        }

        fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
            assert!(self.left >= 0, "a fault on purpose");
            let is_first = self.left == 50_000;
            out.extend_from_slice(if is_first { b"[" } else { b"" });
            while out.len() < PART_BYTES && self.left > 0 {
                out.extend_from_slice(if self.left == 1 { b"1" } else { b"12," });
                self.left -= 1;
            }
            out.extend_from_slice(if self.left == 0 { b"]" } else { b"" });
            self.left > 0
        }
    }

    /// The parts of an answer.
    fn ask_in_parts(workshop: Workshop, text: &str) -> Vec<Vec<u8>> {
        let text = text.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut answer = Answer::to(Echo(workshop), text).await;
            let mut parts = Vec::new();
            loop {
                let mut out = Vec::new();
                let more = answer.write_part(&mut out).await.unwrap();
                parts.push(out);
                if !more {
                    return parts;
                }
            }
        })
    }

    fn workshop() -> Workshop {
        Workshop::new(2, Duration::from_millis(20))
    }

    fn ask(text: &str) -> Option<String> {
        let answer = String::from_utf8(ask_in_parts(workshop(), text).concat()).unwrap();
        (!answer.is_empty()).then_some(answer)
    }

    #[track_caller]
    fn answered(request: &str, expected: &str) {
        assert_eq!(ask(request).as_deref(), Some(expected), "{request}");
    }

    #[track_caller]
    fn fails(request: &str, id: &str, code: i32, message: &str) {
        let answer = ask(request).unwrap();
        let beginning = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":""#);
        assert!(answer.starts_with(&beginning), "{request}: {answer}");
        assert!(answer.contains(message), "{request}: {answer}");
        serde_json::from_str::<Value>(&answer).unwrap();
    }

    #[test]
    fn parameters_go_by_position_or_by_name_and_null_is_absent() {
        let answer = |params: &str| {
            ask(&format!(r#"{{"jsonrpc":"2.0","method":"echo","params":{params},"id":1}}"#)).unwrap()
        };
        let result = |a: &str, b: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{a},{b}]}}"#);
        assert_eq!(answer("[]"), result("null", "null"));
        assert_eq!(answer("null"), result("null", "null"));
        assert_eq!(answer(r#"["x"]"#), result(r#""x""#, "null"));
        assert_eq!(answer(r#"[null,"y"]"#), result("null", r#""y""#));
        assert_eq!(answer(r#"{"b":"y"}"#), result("null", r#""y""#));
        assert_eq!(answer(r#"{"b":"y","a":null}"#), result("null", r#""y""#));
    }

    #[test]
    fn an_id_comes_back_as_it_was_written() {
        for id in ["1", "1.0", "-3e2", "123456789012345678901234567890", "null", r#""""#, r#""\u0041""#] {
            answered(
                &format!(r#" {{"id": {id} ,"method":"echo","jsonrpc":"2.0"}}"#),
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":[null,null]}}"#),
            );
        }
    }

    #[test]
    fn every_kind_of_bad_request_has_its_code() {
        fails("", "null", -32700, "not JSON");
        fails("{", "null", -32700, "not JSON");
        fails("[1,", "null", -32700, "not JSON");
        fails(r#"{"jsonrpc":"2.0","method":"echo","id":1} x"#, "null", -32700, "not JSON");
        fails("\u{0}", "null", -32700, "not JSON");
        fails("1", "null", -32600, "a request is an object");
        fails(r#""x""#, "null", -32600, "a request is an object");
        fails("null", "null", -32600, "a request is an object");
        fails(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"echo"}"#, "null", -32600, "duplicate field `id`");
        fails(
            r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":{"a":"x","a":"y"}}"#,
            "1",
            -32602,
            "a is given twice",
        );
        fails("{}", "null", -32600, "jsonrpc must be");
        fails(r#"{"method":"echo","id":1}"#, "1", -32600, "jsonrpc must be");
        fails(r#"{"jsonrpc":2.0,"method":"echo","id":1}"#, "1", -32600, "jsonrpc must be");
        fails(r#"{"jsonrpc":"2.0","id":"a"}"#, r#""a""#, -32600, "method must be");
        fails(r#"{"jsonrpc":"2.0","method":1,"params":"bar"}"#, "null", -32600, "method must be");
        fails(r#"{"jsonrpc":"2.0","method":"echo","params":"x","id":1}"#, "1", -32600, "params must");
        fails(r#"{"jsonrpc":"2.0","method":"echo","id":{}}"#, "null", -32600, "id must be");
        fails(r#"{"jsonrpc":"2.0","method":"echo","id":[1]}"#, "null", -32600, "id must be");
        fails(r#"{"jsonrpc":"2.0","method":"echo","id":true}"#, "null", -32600, "id must be");
        fails(r#"{"jsonrpc":"2.0","method":"nope","id":1}"#, "1", -32601, "no such method");
        fails(
            r#"{"jsonrpc":"2.0","method":"echo","params":[1],"id":1}"#,
            "1",
            -32602,
            "a must be a string or null, not a number",
        );
        fails(
            r#"{"jsonrpc":"2.0","method":"echo","params":{"b":[]},"id":1}"#,
            "1",
            -32602,
            "b must be a string or null, not an array",
        );
        fails(
            r#"{"jsonrpc":"2.0","method":"echo","params":{"c":"x"},"id":1}"#,
            "1",
            -32602,
            r#"unknown parameter \"c\"; known: a, b"#,
        );
        fails(
            r#"{"jsonrpc":"2.0","method":"echo","params":["","",""],"id":1}"#,
            "1",
            -32602,
            "at most 2 parameters: a, b",
        );
        fails("[]", "null", -32600, "at least one");
    }

    #[test]
    fn a_notification_is_not_answered_even_when_it_fails() {
        assert_eq!(ask(r#"{"jsonrpc":"2.0","method":"echo"}"#), None);
        assert_eq!(ask(r#"{"jsonrpc":"2.0","method":"nope","params":[1]}"#), None);
        assert_eq!(ask(r#"[{"jsonrpc":"2.0","method":"echo"}]"#), None);
    }

    #[test]
    fn a_batch_is_answered_one_by_one_in_its_order() {
        let batch = r#" [{"jsonrpc":"2.0","method":"echo","params":["x"],"id":1},
            {"jsonrpc":"2.0","method":"echo"}, 1,
            {"jsonrpc":"2.0","method":"nope","id":"z"}]"#;
        let answers: Value = serde_json::from_str(&ask(batch).unwrap()).unwrap();
        assert_eq!(answers.as_array().unwrap().len(), 3);
        assert_eq!(answers[0], json!({"jsonrpc":"2.0","id":1,"result":["x",null]}));
        assert_eq!(answers[1]["error"]["code"], -32600);
        assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&json!("z"), &json!(-32601)));
    }

    #[test]
    fn an_array_in_a_batch_is_no_request() {
        let answer = ask(r#"[[1,"2.0","echo",[]]]"#).unwrap();
        assert!(answer.starts_with(r#"[{"jsonrpc":"2.0","id":null,"error":{"code":-32600"#), "{answer}");
    }

    #[test]
    fn a_batch_of_notifications_first_and_last_leaves_no_stray_comma() {
        let batch = r#"[{"jsonrpc":"2.0","method":"echo"},{"jsonrpc":"2.0","method":"echo","id":7},
            {"jsonrpc":"2.0","method":"echo"}]"#;
        assert_eq!(ask(batch).unwrap(), r#"[{"jsonrpc":"2.0","id":7,"result":[null,null]}]"#);
    }

    #[test]
    fn a_batch_has_a_limit() {
        let batch = |n| format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"echo","id":1}"#; n].join(","));
        assert!(ask(&batch(50)).unwrap().starts_with('['));
        fails(&batch(51), "null", -32004, "at most 50 requests, this one 51");
    }

    #[test]
    fn large_results_come_in_parts_wherever_they_stand() {
        let many = r#"{"jsonrpc":"2.0","method":"many","id":1}"#;
        let echo = r#"{"jsonrpc":"2.0","method":"echo","id":2}"#;
        let parts = ask_in_parts(workshop(), many);
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() < PART_BYTES + 100));
        let whole: Value = serde_json::from_slice(&parts.concat()).unwrap();
        assert_eq!(whole["result"].as_array().unwrap().len(), 50_000);
        let batch = format!("[{echo},{many},{echo},{many},{many}]");
        let parts = ask_in_parts(workshop(), &batch);
        assert!(parts.iter().all(|part| part.len() < PART_BYTES + 200));
        let answers: Vec<Value> = serde_json::from_slice(&parts.concat()).unwrap();
        assert_eq!(
            answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect::<Vec<_>>(),
            [2, 1, 2, 1, 1]
        );
        assert!(answers[4]["result"].as_array().unwrap().len() == 50_000);
        assert_eq!(ask(r#"[{"jsonrpc":"2.0","method":"many"}]"#), None, "nobody wants to know");
    }

    #[test]
    fn a_fault_in_one_answer_is_that_answer_s_alone() {
        let batch = r#"[{"jsonrpc":"2.0","method":"echo","id":1},{"jsonrpc":"2.0","method":"fault","id":2},
            {"jsonrpc":"2.0","method":"echo","id":3}]"#;
        let answers: Vec<Value> = serde_json::from_str(&ask(batch).unwrap()).unwrap();
        assert_eq!((&answers[0]["id"], &answers[1]["error"]["code"]), (&json!(1), &json!(-32603)));
        assert_eq!(answers[2]["result"], json!([null, null]));
    }

    #[test]
    fn heavy_answers_wait_for_their_turn_and_not_for_ever() {
        let full = Workshop::new(0, Duration::from_millis(20));
        let batch = r#"[{"jsonrpc":"2.0","method":"many","id":1},{"jsonrpc":"2.0","method":"echo","id":2}]"#;
        let answers: Vec<Value> = serde_json::from_slice(&ask_in_parts(full, batch).concat()).unwrap();
        assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&json!(1), &json!(-32003)));
        assert_eq!(answers[1]["result"], json!([null, null]));
    }
}
