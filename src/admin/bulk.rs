//! What is done to many sessions at once: to those that a filter picks, the very filter of `listSessions`.

use std::sync::Arc;

use serde_json::{Value, json, value::RawValue};

use super::{
    listing::NoList,
    methods::Methods,
    rpc::Error,
    select::{Question, Selecting},
    source::{Source, a_while},
};
use crate::session::{EndReason, Session, filter::Filter};

/// What is done to each of them.
#[derive(Debug)]
pub(super) enum Deed {
    /// End it, with words for its client; or only count it.
    Close { message: Option<String>, dry_run: bool },
    /// Send it a text, or one page of it.
    Send { page_id: Option<String>, text: Arc<str> },
}

/// Whom an action is for: one session, or those that a filter picks.
#[derive(Debug)]
pub(super) enum Target {
    One(String),
    Many(Question),
}

impl Target {
    /// # Errors
    ///
    /// Both or neither are given, or the filter is none, or it picks everybody and nobody said that this is meant.
    pub(super) fn read(
        session_id: Option<String>,
        filter: Option<&RawValue>,
        all: bool,
    ) -> Result<Self, Error> {
        let wrong = |message: &str| Err(Error::invalid_params(message));
        match (session_id, filter) {
            (None, None) if all => {
                wrong("all goes with a filter: if everybody is meant, say filter:{} and all:true")
            }
            (None, None) => wrong("sessionId or filter is needed"),
            (Some(_), Some(_)) => wrong("sessionId and filter are both given; one of them is meant"),
            (Some(_), None) if all => wrong("all goes with a filter, not with sessionId"),
            (Some(id), None) => Ok(Self::One(id)),
            (None, Some(filter)) => {
                let read = Filter::from_json(filter.get()).and_then(|read| Question::read(read, None, None));
                let question = read.map_err(NoList::from)?;
                if question.is_everybody() && !all {
                    return wrong("an empty filter is everybody; if that is meant, say all:true as well");
                }
                Ok(Self::Many(question))
            }
        }
    }
}

/// A deed that is done where large answers are made; its answer is how many it was done to.
pub(super) struct Bulk {
    methods: Methods,
    question: Question,
    /// Whom it is done to, as far as that is known.
    selecting: Selecting,
    deed: Deed,
    /// The action and its parameters, until they are written down.
    asked: Option<(String, Value)>,
}

impl Bulk {
    /// To those of the sessions that the caller sees.
    pub(super) fn new(
        methods: Methods,
        question: Question,
        deed: Deed,
        (action, asked): (&str, Value),
    ) -> Self {
        let selecting = question.select(&methods.registry, methods.caller.view(), methods.clock.now_ms());
        Self { methods, question, selecting, deed, asked: Some((action.to_owned(), asked)) }
    }

    fn note(&mut self, result: Result<&Value, &str>) {
        if let Some((action, asked)) = self.asked.take() {
            self.methods.audit.note(&self.methods.caller, &action, asked, result);
        }
    }
}

/// There was no place to do it in, or it failed on the way: that is written down too.
impl Drop for Bulk {
    fn drop(&mut self) {
        self.note(Err("it was not carried out, or not to the end"));
    }
}

impl Source for Bulk {
    fn looks(&self) -> usize {
        /// Ending a session takes about so many times as long as writing its row of getSessionInfo.
        const DEARER: usize = 16;
        self.question.looks(&self.methods.registry, self.methods.caller.view()).saturating_mul(DEARER)
    }

    fn has_effect(&self) -> bool {
        true
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let Methods { registry, clock, caller, .. } = &self.methods;
        if self.selecting.go_on(&self.question, (registry, *clock, caller.view()), a_while()) {
            return true;
        }
        let sessions = self.selecting.take();
        let answer = match &self.deed {
            Deed::Close { dry_run: true, .. } => json!({"terminated": sessions.len()}),
            Deed::Close { message, .. } => {
                let (words, now_ms) = (message.as_deref().unwrap_or_default(), clock.now_ms());
                let reason = EndReason::Terminated;
                let ended = |session: &&Arc<Session>| registry.terminate_this(session, reason, words, now_ms);
                let terminated = sessions.iter().filter(ended).count();
                json!({"terminated": terminated})
            }
            Deed::Send { page_id, text } => {
                let taken = |session: &&Arc<Session>| session.send(page_id.as_deref(), text) == Some(true);
                let delivered = sessions.iter().filter(taken).count();
                let undeliverable = sessions.len() - delivered;
                json!({"delivered": delivered, "undeliverable": undeliverable})
            }
        };
        self.note(Ok(&answer));
        out.extend_from_slice(answer.to_string().as_bytes());
        false
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread, time::Duration};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        admin::{audit::Audit, caller::Caller, figures::Figures, source::Workshop},
        edge::clock::Clock,
        session::{Registry, Rules},
    };

    #[test]
    fn what_was_not_carried_out_is_written_down_too() {
        let log = std::env::temp_dir().join(format!("headcount-bulk-{}.log", std::process::id()));
        let _ = fs::remove_file(&log);
        let methods = Methods {
            registry: Arc::new(Registry::new(Rules::default())),
            clock: Clock::start(),
            workshop: Workshop::new(1, Duration::from_secs(1)),
            snapshots: Arc::default(),
            watches: None,
            caller: Caller::new(([127, 0, 0, 1], 1).into(), None),
            audit: Audit::new(Some(&log)),
            figures: Figures::nothing(),
            draining: CancellationToken::new(),
        };
        let bulk = |action: &str| {
            let deed = Deed::Close { message: None, dry_run: false };
            Bulk::new(methods.clone(), Question::default(), deed, (action, json!({})))
        };
        drop(bulk("first"));
        assert!(!bulk("second").write_part(&mut Vec::new()));
        let mut lines = String::new();
        for _ in 0..500 {
            lines = fs::read_to_string(&log).unwrap_or_default();
            if lines.lines().count() >= 2 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(&log);
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let facts: Vec<_> =
            lines.iter().map(|line| [&line["action"], &line["error"], &line["result"]]).collect();
        let (error, done) = (json!("it was not carried out, or not to the end"), json!({"terminated": 0}));
        assert_eq!(facts, [[&json!("first"), &error, &Value::Null], [&json!("second"), &Value::Null, &done]]);
    }
}
