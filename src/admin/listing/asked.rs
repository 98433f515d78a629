//! What is asked of a list, and why there may be none.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    admin::{
        caller::Lacks,
        describe::takes,
        item::Fields,
        params::{Wrong, text, whole},
        rpc::Error,
        select::Question,
    },
    config::MAX_SNAPSHOT_AGE,
    session::{
        filter::{Filter, Invalid},
        text::without_place,
    },
};

/// How many items an answer has unless more are asked for.
pub(in crate::admin) const DEFAULT_LIMIT: i64 = 100;

/// The parameters of `listSessions`. Their types are checked by name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::admin) struct ListSessions {
    /// Conditions that must all hold.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// Terms, with spaces between them, that must all occur in some text, whatever the case of their letters.
    #[schemars(with = "Option<takes::Search>")]
    search: Option<Value>,
    /// The order; those that are equal go by their ids. Without it there is none in particular.
    #[schemars(with = "Option<takes::LiveOrder>")]
    sort_by: Option<Value>,
    /// How many items are shown; -1 is all.
    #[schemars(with = "Option<i64>", range(min = -1), extend("default" = DEFAULT_LIMIT))]
    limit: Option<Value>,
    /// How many are left out before them.
    #[schemars(with = "Option<i64>", range(min = 0), extend("default" = 0))]
    offset: Option<Value>,
    /// The keys that the items show, in the order of an item; without it, all.
    #[schemars(with = "Option<Vec<takes::LiveField>>", length(min = 1))]
    fields: Option<Value>,
    /// A list that was answered before, to show another part of the very same sessions.
    #[schemars(with = "Option<String>")]
    snapshot_id: Option<Value>,
    /// The list may be shared with others who asked so many milliseconds ago or less.
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_SNAPSHOT_AGE.as_millis() as i64))]
    max_age_ms: Option<Value>,
}

/// What is asked for, whichever way it is asked.
#[derive(Debug)]
pub(in crate::admin) struct Asked {
    pub(in crate::admin) question: Question,
    /// How the question was written, if it was: a snapshot is of one question.
    pub(in crate::admin) written: String,
    /// -1 is all.
    pub(in crate::admin) limit: i64,
    pub(in crate::admin) offset: usize,
    pub(in crate::admin) fields: Fields,
    pub(in crate::admin) snapshot_id: Option<String>,
    /// How old the selection may be, if that was said.
    pub(in crate::admin) max_age: Option<Duration>,
}

/// Why there is no list.
#[derive(Debug)]
pub(in crate::admin) enum NoList {
    /// The question is none.
    Invalid(String),
    /// There is no such snapshot any more.
    Expired(String),
    /// The caller may not see it.
    Refused(Lacks),
    /// There are too many already.
    Limit(String),
}

impl From<Lacks> for NoList {
    fn from(lacks: Lacks) -> Self {
        Self::Refused(lacks)
    }
}

impl From<Invalid> for NoList {
    fn from(error: Invalid) -> Self {
        Self::Invalid(without_place(&error.to_string()).to_owned())
    }
}

impl From<Wrong> for NoList {
    fn from(Wrong(message): Wrong) -> Self {
        Self::Invalid(message)
    }
}

impl From<NoList> for Error {
    fn from(why: NoList) -> Self {
        match why {
            NoList::Invalid(message) => Self::invalid_params(message),
            NoList::Expired(message) => Self::new(Self::NOT_FOUND, message),
            NoList::Refused(lacks) => lacks.into(),
            NoList::Limit(message) => Self::new(Self::LIMIT, message),
        }
    }
}

impl ListSessions {
    /// # Errors
    ///
    /// The parameter that cannot be meant so.
    pub(in crate::admin) fn read(self) -> Result<Asked, NoList> {
        let [search, sort_by, snapshot_id] =
            [("search", self.search), ("sortBy", self.sort_by), ("snapshotId", self.snapshot_id)]
                .map(|(name, value)| text(name, value));
        let (search, sort_by, snapshot_id) = (search?, sort_by?, snapshot_id?);
        let filter = self.filter.as_ref().map_or("{}", |filter| filter.get());
        let written = written(filter, search.as_deref(), sort_by.as_deref());
        let filter = Filter::from_json(filter)?;
        let question = Question::read(filter, search.as_deref(), sort_by.as_deref())?;
        let limit = whole("limit", self.limit)?.unwrap_or(DEFAULT_LIMIT);
        let offset = whole("offset", self.offset)?.unwrap_or(0);
        let (limit, offset) = page(limit, offset)?;
        let fields = names(self.fields)?;
        let max_age = whole("maxAgeMs", self.max_age_ms)?.map(max_age).transpose()?;
        Ok(Asked { question, written, limit, offset, fields, snapshot_id, max_age })
    }
}

/// How a question is written, for telling it from another; empty if nothing is asked.
pub(in crate::admin) fn written(filter: &str, search: Option<&str>, sort_by: Option<&str>) -> String {
    if matches!(filter, "{}" | "") && search.is_none() && sort_by.is_none() {
        return String::new();
    }
    json!([filter, search, sort_by]).to_string()
}

/// # Errors
///
/// A page that is none.
pub(in crate::admin) fn page(limit: i64, offset: i64) -> Result<(i64, usize), NoList> {
    if limit < -1 {
        return Err(NoList::Invalid("limit must be -1 for all, or 0 and more".to_owned()));
    }
    let offset =
        usize::try_from(offset).map_err(|_| NoList::Invalid("offset must be 0 or more".to_owned()))?;
    Ok((limit, offset))
}

/// # Errors
///
/// Negative, or longer than anything is shared.
pub(in crate::admin) fn max_age(ms: i64) -> Result<Duration, NoList> {
    let age = u64::try_from(ms).map(Duration::from_millis).ok().filter(|age| *age <= MAX_SNAPSHOT_AGE);
    age.ok_or_else(|| NoList::Invalid(format!("maxAgeMs must be 0 to {}", MAX_SNAPSHOT_AGE.as_millis())))
}

fn names(value: Option<Value>) -> Result<Fields, NoList> {
    let wrong = || NoList::Invalid("fields must be an array of names".to_owned());
    let list = match value {
        None | Some(Value::Null) => return Ok(Fields::all()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    Fields::read(names.ok_or_else(wrong)?).map_err(NoList::Invalid)
}
