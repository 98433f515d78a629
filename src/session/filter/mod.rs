//! Picking records by any of their fields: the predicate language of PROTOCOL 3.1 and 3.2.
//!
//! A [`Filter`] maps `field[op]` to the value wanted, or to several of which any will do; all its conditions
//! must hold. It is read once, against the fields that a kind of record has, and everything that may be wrong
//! with it is told then. Afterwards it is held against as many records as there are, which cannot fail, and
//! allocates nothing but the scratch memory of regular expressions, which they keep.
//!
//! ```
//! use headcount::session::filter::{Field, Filter, Kind, Record, Search, SortBy, Value};
//!
//! struct Row { id: &'static str, username: &'static str, bytes: u64 }
//!
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! enum Column { Id, Username, Bytes }
//!
//! impl Field for Column {
//!     const ALL: &'static [(Self, &'static str, Kind)] = &[
//!         (Self::Id, "id", Kind::Text),
//!         (Self::Username, "username", Kind::Text),
//!         (Self::Bytes, "totalBytesSent", Kind::Number),
//!     ];
//! }
//!
//! impl Record for Row {
//!     type Field = Column;
//!     fn id(&self) -> &str { self.id }
//!     fn value(&self, column: Column) -> Value<'_> {
//!         match column {
//!             Column::Id => Value::Text(self.id),
//!             Column::Username => Value::Text(self.username),
//!             Column::Bytes => Value::Number(self.bytes),
//!         }
//!     }
//! }
//!
//! let mut rows = [
//!     Row { id: "a", username: "billy", bytes: 5_000 },
//!     Row { id: "b", username: "billy", bytes: 10 },
//!     Row { id: "c", username: "eve", bytes: 9_000 },
//! ];
//! let filter = Filter::from_json(r#"{"username":["billy","eve"],"totalBytesSent[gt]":1000}"#)?;
//! assert_eq!(rows.each_ref().map(|row| filter.matches(row)), [true, false, true]);
//!
//! // The same in a URL: ?username[eq]=billy&username[eq]=eve&totalBytesSent[gt]=1000
//! let pairs = [("username[eq]", "billy"), ("username[eq]", "eve"), ("totalBytesSent[gt]", "1000")];
//! let filter = Filter::from_pairs(pairs)?;
//! assert_eq!(rows.each_ref().map(|row| filter.matches(row)), [true, false, true]);
//!
//! let search = Search::read("BILL a")?;
//! assert_eq!(rows.each_ref().map(|row| search.matches(row)), [true, false, false]);
//!
//! let order = SortBy::read("desc(totalBytesSent)")?;
//! rows.sort_by(|a, b| order.compare(a, b));
//! assert_eq!(rows.map(|row| row.id), ["c", "a", "b"]);
//!
//! let error = Filter::<Column>::from_json(r#"{"totalBytesSent[cn]":1}"#).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "cn does not fit totalBytesSent: a number takes eq, ne, gt, gte, lt, lte, in",
//! );
//! # Ok::<(), headcount::session::filter::Invalid>(())
//! ```
//!
//! # Operators
//!
//! | operator | fits | holds if the field |
//! |---|---|---|
//! | `eq`, or none | all | equals any of the values |
//! | `ne` | all | equals none of them |
//! | `in` | all | as `eq`; in JSON its value is always an array |
//! | `cn`, `sw`, `ew` | texts, addresses | contains, starts with, ends with any of them |
//! | `glob` | texts, addresses | fits any of the patterns as a whole: [`Glob`] |
//! | `rgx` | texts, addresses | has a place that fits any of the regular expressions (of the crate [`regex`]; linear time; not anchored) |
//! | `gt`, `gte`, `lt`, `lte` | numbers, times | is greater than any of them, … |
//! | `cidr` | addresses | is in any of the networks; a bare address is the network of itself alone |
//!
//! - Texts are compared case-sensitively.
//! - A **list** passes if any of its texts does; `ne`, if none of them equals.
//! - A **number** is whole. A **time** is given in RFC 3339. In a URL both are read from the text.
//! - An **address** is for `cn sw ew glob rgx` the text that rows show. `::ffff:10.0.0.7` equals `10.0.0.7`, and
//!   `::ffff:10.0.0.0/104` is `10.0.0.0/8`; no other network of IPv6 holds an IPv4 address.
//! - **`null`** can be had by `eq`, `ne` and `in`: a field equals it if it has no value, or is an empty list.
//!   Such a field passes no other test, and `ne` everything else. In a URL, `null` is no value where a text is
//!   not expected, and the word where it is.
//! - An **empty array** is refused, as is the same condition twice in JSON: neither can have been meant, and a
//!   filter may say whose sessions to end.

mod condition;
mod op;
mod operand;
mod record;
mod search;
mod sort;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value as Json;

use self::{
    condition::{Budget, Test},
    operand::Given,
};
use super::{Glob, text::shown};

pub use self::{
    op::Op,
    record::{Field, Kind, Record, Texts, Value},
    search::Search,
    sort::SortBy,
};

/// The most conditions in one filter.
pub const MAX_CONDITIONS: usize = 32;

/// The most values in one condition.
pub const MAX_VALUES: usize = 1000;

/// The most characters of all `glob` patterns in one filter; one alone has at most [`Glob::MAX_CHARS`].
///
/// Each may be held against each character of a text.
pub const MAX_GLOB_CHARS: usize = 8192;

/// The most `rgx` patterns in one filter; each has at most [`Glob::MAX_CHARS`] characters.
pub const MAX_REGEXES: usize = 8;

/// The most memory that one `rgx` pattern may compile to, and may use again as it is held against texts.
///
/// It has room for about ten `\w`, or a hundred `\d`. One that fills it on purpose takes some milliseconds for a
/// text of 512 characters (measured), so an answer that holds such a filter against many records needs a
/// deadline.
pub const MAX_REGEX_BYTES: usize = 512 * 1024;

/// The most terms in one search.
pub const MAX_SEARCH_TERMS: usize = 16;

/// The most characters in one search.
pub const MAX_SEARCH_CHARS: usize = 256;

/// What is wrong with a filter, a search or an order, in one sentence for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// Conditions on the fields of a record, which must all hold. The module's page tells the language.
#[derive(Clone, Debug)]
pub struct Filter<F>(Vec<(F, Test)>);

/// The filter without a condition, which every record passes.
impl<F> Default for Filter<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Field> Filter<F> {
    /// Reads a JSON object: `{"username[eq]":"billy","clientAddress[cidr]":["10.0.0.0/8","fd00::/8"]}`.
    ///
    /// It takes the text, since a parsed object would have dropped a condition that is there twice.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and what would be right.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        let Members(members) = serde_json::from_str(text).map_err(|error| {
            // JSON of another shape would be repeated in full.
            let detail = if error.is_data() { String::new() } else { format!(": {error}") };
            Invalid(format!("filter must be a JSON object of conditions{detail}"))
        })?;
        let mut asked = Asked::default();
        for (name, value) in &members {
            let condition = asked.condition(name)?;
            let key = &condition.key;
            if !condition.values.is_empty() {
                return Err(Invalid(format!("{key} is given twice")));
            }
            match value {
                Json::Array(values) if values.is_empty() => {
                    return Err(Invalid(format!("{key} needs at least one value")));
                }
                Json::Array(values) => {
                    values.iter().try_for_each(|value| condition.want(Given::Json(value)))?;
                }
                _ if condition.op == Op::In => return Err(Invalid(format!("{key} takes an array"))),
                value => condition.want(Given::Json(value))?,
            }
        }
        asked.read()
    }

    /// Reads the decoded parameters of a URL's query: `field[op]` and a value; of a name that comes again, any
    /// value will do.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and what would be right.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, Invalid>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let mut asked = Asked::default();
        for (name, value) in &pairs {
            asked.condition(name.as_ref())?.want(Given::Text(value.as_ref()))?;
        }
        asked.read()
    }

    /// Whether there is no condition, so that every record passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts of which a record must have one in this field, if there is such a condition (`eq` or `in`): whoever
    /// has an index need not look at other records.
    pub fn wanted_texts(&self, field: F) -> Option<Vec<&str>> {
        let tests = self.0.iter().filter(|(known, _)| *known == field);
        tests.filter_map(|(_, test)| test.texts()).min_by_key(Vec::len)
    }

    /// How many microseconds it may take at the worst to hold it against a record, about.
    pub fn worst_us(&self) -> usize {
        self.0.iter().map(|(_, test)| test.worst_us()).sum()
    }

    /// The fields that there are conditions on.
    pub fn fields(&self) -> impl Iterator<Item = F> {
        self.0.iter().map(|(field, _)| *field)
    }

    /// Whether the record passes every condition.
    pub fn matches<R: Record<Field = F>>(&self, record: &R) -> bool {
        self.0.iter().all(|(field, test)| test.passes(record.value(*field)))
    }
}

/// The conditions as they are asked for, their values not read yet.
struct Asked<'a, F>(Vec<AskedCondition<'a, F>>);

struct AskedCondition<'a, F> {
    field: F,
    kind: Kind,
    op: Op,
    /// What the condition is called in errors.
    key: String,
    values: Vec<Given<'a>>,
}

impl<F> Default for Asked<'_, F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, F: Field> Asked<'a, F> {
    /// The condition of a name, `field[op]` or `field`; a new one if it is not there yet.
    fn condition(&mut self, name: &str) -> Result<&mut AskedCondition<'a, F>, Invalid> {
        let (field, op) = match name.split_once('[') {
            None => (name, "eq"),
            Some((field, op)) => (
                field,
                op.strip_suffix(']').ok_or_else(|| {
                    Invalid(format!("a condition is written field[op], not {}", shown(name)))
                })?,
            ),
        };
        let (field, name, kind) = record::find::<F>(field, "filter", |_| true)?;
        let op = Op::read(op, name, kind)?;
        let at = self.0.iter().position(|known| known.field == field && known.op == op);
        let at = match at {
            Some(at) => at,
            None if self.0.len() == MAX_CONDITIONS => {
                return Err(Invalid(format!("a filter has at most {MAX_CONDITIONS} conditions")));
            }
            None => {
                let key = format!("{name}[{op}]");
                self.0.push(AskedCondition { field, kind, op, key, values: Vec::new() });
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[at])
    }

    fn read(self) -> Result<Filter<F>, Invalid> {
        let mut budget = Budget::default();
        let read = |asked: AskedCondition<'_, F>| {
            let AskedCondition { field, kind, op, key, values } = asked;
            Ok((field, Test::read((kind, op, &key), &values, &mut budget)?))
        };
        self.0.into_iter().map(read).collect::<Result<_, _>>().map(Filter)
    }
}

impl<'a, F> AskedCondition<'a, F> {
    fn want(&mut self, value: Given<'a>) -> Result<(), Invalid> {
        if self.values.len() == MAX_VALUES {
            return Err(Invalid(format!("{} has at most {MAX_VALUES} values", self.key)));
        }
        self.values.push(value);
        Ok(())
    }
}

/// An object as it was written: names that come twice are kept, to be refused.
struct Members(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl<'de> Visitor<'de> for AsWritten {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
                let mut found = Vec::new();
                while let Some(member) = members.next_entry()? {
                    found.push(member);
                }
                Ok(Members(found))
            }
        }
        deserializer.deserialize_map(AsWritten)
    }
}
