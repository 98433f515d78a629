//! JSON-RPC 2.0, text in and text out (PROTOCOL 3.1).

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use super::{
    calls::call,
    methods::{Methods, Unanswered},
};

/// The most requests in one batch.
const MAX_BATCH: usize = 50;

/// When the answers to a batch have so many bytes, the requests that are left are refused.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

fn too_much(_: &str, _: Option<&RawValue>, _: &mut Vec<u8>) -> Result<(), Error> {
    let mib = MAX_BATCH_BYTES >> 20;
    Err(Error::new(
        Error::LIMIT,
        format!("the answers before this one have {mib} MiB; ask this one by itself"),
    ))
}

/// Writes a method's result, given the method's name and parameters.
type Call<'a> = &'a dyn Fn(&str, Option<&RawValue>, &mut Vec<u8>) -> Result<(), Error>;

/// Answers one request or one batch; `None` if there was nothing but notifications.
fn answer(methods: &Methods, text: &str) -> Option<Vec<u8>> {
    answer_by(&|method, params, out| call(methods, method, params, out), text)
}

/// The same on the thread that fits its weight; the answer says so if none could be made.
pub(super) async fn answer_text<T>(methods: &Methods, text: T) -> Option<Vec<u8>>
where
    T: AsRef<str> + Clone + Send + 'static,
{
    let asked = text.clone();
    match methods.answer(asked.as_ref().len(), move |methods| answer(methods, asked.as_ref())).await {
        Ok(answer) => answer,
        Err(why) => refuse(why, text.as_ref()),
    }
}

/// Answers every request in the text with why it has no answer.
fn refuse(why: Unanswered, text: &str) -> Option<Vec<u8>> {
    let code = match why {
        Unanswered::Overloaded => Error::OVERLOADED,
        Unanswered::Failed => Error::INTERNAL,
    };
    answer_by(&|_, _, _| Err(Error::new(code, why.to_string())), text)
}

fn answer_by(call: Call<'_>, text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if !text.trim_start_matches(is_json_space).starts_with('[') {
        return answer_one(call, text, &mut out).then_some(out);
    }
    let batch: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(batch) => batch,
        Err(error) => return Some(failure(&Error::parse(&error))),
    };
    if batch.is_empty() {
        return Some(failure(&Error::invalid_request("a batch holds at least one request")));
    }
    if batch.len() > MAX_BATCH {
        let message = format!("a batch holds at most {MAX_BATCH} requests, this one {}", batch.len());
        return Some(failure(&Error::new(Error::LIMIT, message)));
    }
    out.push(b'[');
    for request in batch {
        let before = out.len();
        if before > 1 {
            out.push(b',');
        }
        // Answers that wait in memory for a slow reader are bounded; a single one is as large as it must be.
        let call = if before < MAX_BATCH_BYTES { call } else { &too_much };
        if !answer_one(call, request.get(), &mut out) {
            out.truncate(before);
        }
    }
    out.push(b']');
    (out.len() > 2).then_some(out)
}

/// The answer to a message that cannot even be read as text, or is too large to.
pub(super) fn failure(error: &Error) -> Vec<u8> {
    let mut out = Vec::new();
    write_error(None, error, &mut out);
    out
}

/// Writes the answer to one request; says whether there was anything to answer.
fn answer_one(call: Call<'_>, text: &str, out: &mut Vec<u8>) -> bool {
    let request = match Request::read(text) {
        Ok(request) => request,
        Err((id, error)) => {
            write_error(id.as_deref(), &error, out);
            return true;
        }
    };
    let id = request.id.as_deref();
    let before = out.len();
    open_response(id, out);
    out.extend_from_slice(b"\"result\":");
    if let Err(error) = call(&request.method, request.params.as_deref(), out) {
        out.truncate(before);
        write_error(id, &error, out);
    } else {
        out.push(b'}');
    }
    // A notification is carried out and not answered, not even with its error.
    if id.is_none() {
        out.truncate(before);
    }
    id.is_some()
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
    fn read(text: &str) -> Result<Self, (Option<Box<RawValue>>, Error)> {
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
    pub(super) const NOT_FOUND: i32 = -32002;
    const OVERLOADED: i32 = -32003;
    const LIMIT: i32 = -32004;

    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
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

    /// Stands for a method: answers with its parameters, or fails.
    fn echo(method: &str, params: Option<&RawValue>, out: &mut Vec<u8>) -> Result<(), Error> {
        let [a, b] = arguments(params, &["a", "b"])?;
        if method != "echo" {
            return Err(Error::new(Error::METHOD_NOT_FOUND, "no such method"));
        }
        serde_json::to_writer(out, &(a, b)).map_err(|error| Error::new(Error::INTERNAL, error.to_string()))
    }

    fn ask(text: &str) -> Option<String> {
        answer_by(&echo, text).map(|answer| String::from_utf8(answer).unwrap())
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
    fn a_batch_s_answers_have_a_limit_in_all() {
        let long = "x".repeat(1 << 20);
        let request = format!(r#"{{"jsonrpc":"2.0","method":"echo","params":["{long}"],"id":1}}"#);
        let answers = ask(&format!("[{}]", vec![&*request; 20].join(","))).unwrap();
        assert_eq!(answers.matches("\"result\"").count(), 8);
        assert_eq!(answers.matches("\"code\":-32004").count(), 12);
    }

    #[test]
    fn whoever_gets_no_answer_is_told_why_under_his_own_id() {
        let text = r#"[{"jsonrpc":"2.0","method":"getSessionInfo","id":1},{"jsonrpc":"2.0","method":"x"}]"#;
        let refused = |why| String::from_utf8(refuse(why, text).unwrap()).unwrap();
        assert!(refused(Unanswered::Overloaded).contains(r#""id":1,"error":{"code":-32003"#));
        assert!(refused(Unanswered::Failed).contains(r#""id":1,"error":{"code":-32603"#));
    }
}
