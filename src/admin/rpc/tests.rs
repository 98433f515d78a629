use serde_json::json;

use super::{super::params::arguments, *};

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
