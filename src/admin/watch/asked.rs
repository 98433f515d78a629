//! What is to be watched, whichever way that is asked.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    admin::{
        describe::takes,
        listing::{NoList, written},
        params::{Wrong, needed_string, text, whole},
        select::Question,
        view::View,
    },
    session::filter::Filter,
};

/// How often watchers are told, unless they ask for something else.
pub(in crate::admin) const DEFAULT_INTERVAL_MS: i64 = 1_000;

/// The least and the most that can be asked for.
pub(in crate::admin) const INTERVALS_MS: std::ops::RangeInclusive<i64> = 100..=60_000;

/// The parameters of `watchSessions`. Their types are checked by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::admin) struct WatchSessions {
    /// Conditions that must all hold.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// Terms, with spaces between them, that must all occur in some text, whatever the case of their letters.
    #[schemars(with = "Option<takes::Search>")]
    search: Option<Value>,
    /// How often the watcher is told at the most, in milliseconds.
    #[schemars(
        with = "Option<i64>",
        range(min = *INTERVALS_MS.start(), max = *INTERVALS_MS.end()),
        extend("default" = DEFAULT_INTERVAL_MS)
    )]
    interval_ms: Option<Value>,
}

/// The parameters of `unwatchSessions`. Its type is checked by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::admin) struct UnwatchSessions {
    /// The watch that ends.
    #[schemars(with = "String")]
    watch_id: Option<Value>,
}

/// What is to be watched, and how often watchers are told.
#[derive(Debug)]
pub(in crate::admin) struct Asked {
    pub(super) question: Question,
    pub(super) key: Key,
}

/// Those who ask with equal keys are told the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    written: String,
    pub(super) view: View,
    pub(super) interval: Duration,
}

impl Asked {
    /// A question as it was read and as it was written, of somebody who sees this.
    pub(in crate::admin) fn new(
        view: &View,
        question: Question,
        written: String,
        interval: Duration,
    ) -> Self {
        Self { question, key: Key { written, view: view.clone(), interval } }
    }
}

impl UnwatchSessions {
    /// The id of the watch.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(in crate::admin) fn read(self) -> Result<String, Wrong> {
        needed_string("watchId", self.watch_id)
    }
}

impl WatchSessions {
    /// # Errors
    ///
    /// The parameter that cannot be meant so.
    pub(in crate::admin) fn read(self, view: &View) -> Result<Asked, NoList> {
        let search = text("search", self.search)?;
        let filter = self.filter.as_ref().map_or("{}", |filter| filter.get());
        let question = Question::read(Filter::from_json(filter)?, search.as_deref(), None)?;
        // Blanks and the order of conditions make no other question.
        let plain =
            serde_json::from_str::<Value>(filter).map_or_else(|_| filter.to_owned(), |v| v.to_string());
        let written = written(&plain, search.as_deref(), None);
        let interval = interval(whole("intervalMs", self.interval_ms)?)?;
        Ok(Asked::new(view, question, written, interval))
    }
}

/// # Errors
///
/// An interval that is too short or too long.
pub(in crate::admin) fn interval(asked_ms: Option<i64>) -> Result<Duration, NoList> {
    let ms = asked_ms.unwrap_or(DEFAULT_INTERVAL_MS);
    match u64::try_from(ms) {
        Ok(interval_ms) if INTERVALS_MS.contains(&ms) => Ok(Duration::from_millis(interval_ms)),
        _ => {
            let (least, most) = INTERVALS_MS.into_inner();
            Err(NoList::Invalid(format!("intervalMs must be {least} to {most}, not {ms}")))
        }
    }
}
