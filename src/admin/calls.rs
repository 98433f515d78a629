//! The methods by their names.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use super::{
    actions::{self, Done},
    bulk::Bulk,
    history::{self, GetHistory},
    listing::{self, ListSessions, Shape},
    methods::{Methods, SessionInfoFilters},
    nodes,
    params::{arguments, as_given, object},
    rpc::{Error, Procedures},
    source::{Source, Workshop},
    stats,
    watch::{UnwatchSessions, WatchSessions, Watches},
};
use crate::{config::tokens::Scope, session::text::shown};

/// Every method there is.
pub(super) const METHODS: [&str; 10] = [
    "getSessionInfo",
    "listSessions",
    "watchSessions",
    "unwatchSessions",
    "getHistory",
    "getStats",
    "getNodes",
    "closeSession",
    "closePage",
    "sendMessage",
];

impl Procedures for Methods {
    fn call(
        &self,
        method: &str,
        params: Option<&RawValue>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Box<dyn Source>>, Error> {
        if let Some(scope) = needed(method)
            && let Err(lacks) = self.caller.must_have(scope)
        {
            if scope == Scope::Kick {
                self.audit.note(&self.caller, method, as_given(params), Err(&lacks.0));
            }
            return Err(lacks.into());
        }
        match method {
            "getSessionInfo" => {
                let values = arguments(params, &SessionInfoFilters::NAMES)?;
                let [username, project] = &values;
                let filters = SessionInfoFilters::read([username.as_deref(), project.as_deref()])
                    .map_err(Error::invalid_params)?;
                Ok(Some(self.session_info(filters)))
            }
            "listSessions" => {
                let asked = object::<ListSessions>(params)?.read()?;
                Ok(Some(listing::list(self, asked, Shape::Json)?))
            }
            "watchSessions" => {
                let asked = object::<WatchSessions>(params)?.read(self.caller.view())?;
                Ok(Some(self.watches()?.begin(asked)?))
            }
            "unwatchSessions" => {
                let watch_id = object::<UnwatchSessions>(params)?.read()?;
                if !self.watches()?.end(&watch_id) {
                    let shown = shown(&watch_id);
                    return Err(Error::new(Error::NOT_FOUND, format!("this socket has no watch {shown}")));
                }
                answer(out, json!({"watchId": watch_id}))?;
                Ok(None)
            }
            "getHistory" => Ok(Some(history::get_history(self, object::<GetHistory>(params)?.read()?))),
            "getStats" => {
                object::<NoParameters>(params)?;
                Ok(Some(stats::get_stats(self)))
            }
            "getNodes" => {
                object::<NoParameters>(params)?;
                answer(out, nodes::get_nodes(self))?;
                Ok(None)
            }
            "closeSession" => self.act(method, params, out, actions::close_session),
            "closePage" => self.act(method, params, out, actions::close_page),
            "sendMessage" => self.act(method, params, out, actions::send_message),
            _ => {
                let shown = shown(method);
                let message = format!("there is no method {shown}; there are {}", METHODS.join(", "));
                Err(Error::new(Error::METHOD_NOT_FOUND, message))
            }
        }
    }

    fn workshop(&self) -> &Workshop {
        &self.workshop
    }

    fn asked(&self, method: &str, took: Duration, is_error: bool) {
        // Whatever else somebody may write is one.
        let known = METHODS.into_iter().find(|known| *known == method);
        self.figures.asked(known.unwrap_or(NO_METHOD), took, is_error);
    }
}

/// What counts together of questions that name no method there is.
const NO_METHOD: &str = "unknown";

/// The parameters of a method that has none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "There are none.")]
pub(super) struct NoParameters {}

impl Methods {
    /// The watches of the socket that asks.
    fn watches(&self) -> Result<&Arc<Watches>, Error> {
        self.watches.as_ref().ok_or_else(|| {
            let message = "who watches has to stay: watches are for the WebSocket /query; over HTTP, \
                           GET /api/v1/events tells the same";
            Error::new(Error::METHOD_NOT_FOUND, message)
        })
    }

    /// Carries out an action, and writes down who did what to whom, and with which result. One that a filter picks
    /// sessions for is carried out, and written down, as its answer is made.
    fn act<T: DeserializeOwned, R: Serialize>(
        &self,
        action: &str,
        params: Option<&RawValue>,
        out: &mut Vec<u8>,
        carry_out: impl FnOnce(&Self, T) -> Done<R>,
    ) -> Result<Option<Box<dyn Source>>, Error> {
        let done = object(params).and_then(|asked| carry_out(self, asked));
        let asked = as_given(params);
        let done = done.and_then(|done| match done {
            Ok(result) => Ok(Ok(serde_json::to_value(result).unwrap_or_default())),
            // How many a filter picks tells of each session what it is asked for.
            Err(job) => self.caller.must_have(Scope::Read).map(|()| Err(job)).map_err(Error::from),
        });
        match done {
            Ok(Err((question, deed))) => {
                Ok(Some(Box::new(Bulk::new(self.clone(), question, deed, (action, asked)))))
            }
            Ok(Ok(result)) => {
                self.audit.note(&self.caller, action, asked, Ok(&result));
                answer(out, result)?;
                Ok(None)
            }
            Err(error) => {
                self.audit.note(&self.caller, action, asked, Err(error.message()));
                Err(error)
            }
        }
    }
}

/// What a method needs of a token.
pub(super) fn needed(method: &str) -> Option<Scope> {
    match method {
        "getSessionInfo" | "listSessions" | "watchSessions" | "unwatchSessions" | "getHistory"
        | "getStats" | "getNodes" => Some(Scope::Read),
        "closeSession" | "closePage" | "sendMessage" => Some(Scope::Kick),
        _ => None,
    }
}

/// Writes a result that is small.
fn answer(out: &mut Vec<u8>, result: impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(out, &result).map_err(|error| Error::new(Error::INTERNAL, error.to_string()))
}
