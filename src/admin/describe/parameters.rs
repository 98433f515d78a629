//! What a request may say in its path and its query.

use serde_json::{Value, json};

use super::takes::{EndedFilterInQuery, LiveField, LiveFilterInQuery, LiveOrder, Search};
use crate::{
    admin::{
        listing::DEFAULT_LIMIT,
        watch::{DEFAULT_INTERVAL_MS, INTERVALS_MS},
    },
    config::MAX_SNAPSHOT_AGE,
    edge::schemas::Schemas,
    session::Glob,
};

/// A parameter; several paths take the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    UsernameFilter,
    ProjectFilter,
    Limit,
    Offset,
    SortBy,
    Search,
    Fields,
    SnapshotId,
    MaxAgeMs,
    IntervalMs,
    From,
    To,
    Filter,
    EndedFilter,
    Id,
    SessionIds,
    Message,
}

/// What a list takes.
pub(super) const LISTED: &[Parameter] = &[
    Parameter::Limit,
    Parameter::Offset,
    Parameter::SortBy,
    Parameter::Search,
    Parameter::Fields,
    Parameter::SnapshotId,
    Parameter::MaxAgeMs,
    Parameter::Filter,
];

/// What a list in Ignition's shape takes.
pub(super) const IGNITION_LISTED: &[Parameter] =
    &[Parameter::Limit, Parameter::Offset, Parameter::SortBy, Parameter::Search, Parameter::Filter];

/// What a stream of events takes.
pub(super) const WATCHED: &[Parameter] = &[Parameter::Search, Parameter::IntervalMs, Parameter::Filter];

/// What a list of ended sessions takes.
pub(super) const ENDED: &[Parameter] =
    &[Parameter::From, Parameter::To, Parameter::Limit, Parameter::EndedFilter];

/// What says which sessions are to be ended.
pub(super) const DELETED: &[Parameter] = &[Parameter::SessionIds, Parameter::Message];

impl Parameter {
    /// Its name among the components.
    pub(super) fn key(self) -> &'static str {
        if self == Self::EndedFilter { "endedFilter" } else { self.name() }
    }

    /// Its name in the request. The filter has none: it is all the parameters that its patterns fit.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UsernameFilter => "usernameFilter",
            Self::ProjectFilter => "projectFilter",
            Self::Limit => "limit",
            Self::Offset => "offset",
            Self::SortBy => "sortBy",
            Self::Search => "search",
            Self::Fields => "fields",
            Self::SnapshotId => "snapshotId",
            Self::MaxAgeMs => "maxAgeMs",
            Self::IntervalMs => "intervalMs",
            Self::From => "from",
            Self::To => "to",
            Self::Filter | Self::EndedFilter => "filter",
            Self::Id => "id",
            Self::SessionIds => "sessionId",
            Self::Message => "message",
        }
    }

    /// The parameter, as a component.
    pub(super) fn describe(self, schemas: &mut Schemas) -> Value {
        let mut parameter = json!({
            "name": self.name(),
            "in": if self == Self::Id { "path" } else { "query" },
            "description": self.says(),
            "schema": self.schema(schemas),
        });
        if matches!(self, Self::Id | Self::SessionIds) {
            parameter["required"] = true.into();
        }
        match self {
            Self::Fields => {
                parameter["style"] = "form".into();
                parameter["explode"] = false.into();
            }
            Self::Filter | Self::EndedFilter | Self::SessionIds => {
                parameter["style"] = "form".into();
                parameter["explode"] = true.into();
            }
            _ => {}
        }
        if !matches!(self, Self::Id | Self::SessionIds | Self::Filter | Self::EndedFilter) {
            // As if it were missing.
            parameter["allowEmptyValue"] = true.into();
        }
        parameter["example"] = self.example();
        parameter
    }

    fn says(self) -> &'static str {
        match self {
            Self::UsernameFilter => {
                "The user's name: the whole value, with `*`, `?` and `\\`. Empty matches all."
            }
            Self::ProjectFilter => "The project: the whole value, with `*`, `?` and `\\`. Empty matches all.",
            Self::Limit => "How many items are shown; -1 is all.",
            Self::Offset => "How many are left out before them.",
            Self::SortBy => {
                "The order; those that are equal go by their ids. Without it there is none in particular."
            }
            Self::Search => {
                "Terms, with spaces between them, that must all occur in some text, whatever the case of their \
                 letters."
            }
            Self::Fields => "The keys that the items show, in the order of an item; without it, all.",
            Self::SnapshotId => {
                "A list that was answered before, to show another part of the very same sessions. `search`, \
                 `sortBy` and the conditions are left out then, or as they were."
            }
            Self::MaxAgeMs => {
                "The list may be shared with others who asked so many milliseconds ago or less."
            }
            Self::IntervalMs => "How often the watcher is told at the most, in milliseconds.",
            Self::From => "Only those that ended then or later.",
            Self::To => "Only those that ended then or earlier.",
            Self::EndedFilter => {
                "Conditions that must all hold, each a parameter of its own, as for live sessions: `reason=lost`."
            }
            Self::Filter => {
                "Conditions that must all hold, each a parameter of its own: `field[op]=value`, as in \
                 `username[sw]=bil&uptime[gt]=60000`. `field` alone is `field[eq]`; of a condition that is there \
                 again any value will do."
            }
            Self::Id => "The id of a session: a UUID, or the designer's own.",
            Self::SessionIds => "The id of a session to end; once or more.",
            Self::Message => "Words for the clients: the reason of the close frame, cut to 123 bytes.",
        }
    }

    fn schema(self, schemas: &mut Schemas) -> Value {
        match self {
            Self::UsernameFilter | Self::ProjectFilter => {
                json!({"type": "string", "maxLength": Glob::MAX_CHARS})
            }
            Self::Limit => {
                json!({"type": "integer", "format": "int64", "minimum": -1, "default": DEFAULT_LIMIT})
            }
            Self::Offset => json!({"type": "integer", "format": "int64", "minimum": 0, "default": 0}),
            Self::SortBy => schemas.read::<LiveOrder>(),
            Self::Search => schemas.read::<Search>(),
            Self::Fields => json!({"type": "array", "items": schemas.read::<LiveField>(), "minItems": 1}),
            Self::SnapshotId | Self::Message => json!({"type": "string"}),
            Self::MaxAgeMs => {
                json!({"type": "integer", "minimum": 0, "maximum": MAX_SNAPSHOT_AGE.as_millis() as u64})
            }
            Self::IntervalMs => json!({
                "type": "integer",
                "minimum": INTERVALS_MS.start(),
                "maximum": INTERVALS_MS.end(),
                "default": DEFAULT_INTERVAL_MS,
            }),
            Self::From | Self::To => json!({"type": "string", "format": "date-time"}),
            Self::Filter => schemas.read::<LiveFilterInQuery>(),
            Self::EndedFilter => schemas.read::<EndedFilterInQuery>(),
            Self::Id => json!({"type": "string", "minLength": 1}),
            Self::SessionIds => {
                json!({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1})
            }
        }
    }

    fn example(self) -> Value {
        match self {
            Self::UsernameFilter => json!("bil*"),
            Self::ProjectFilter => json!("plant"),
            Self::Limit => json!(100),
            Self::Offset => json!(0),
            Self::SortBy => json!("desc(uptime)"),
            Self::Search => json!("bil pla"),
            Self::Fields => json!(["id", "username", "uptime"]),
            Self::SnapshotId => json!("9b2d0f2a-7c1e-4c3b-9a53-0f6f3f1b2c4d"),
            Self::MaxAgeMs => json!(250),
            Self::IntervalMs => json!(1_000),
            Self::From | Self::To => json!("2026-01-31T08:30:00Z"),
            Self::EndedFilter => json!({"reason": "lost"}),
            Self::Filter => json!({"username[sw]": "bil", "uptime[gte]": 0}),
            Self::Id => json!("42dacef9-563e-4981-99f8-4bad27f57fed"),
            Self::SessionIds => json!(["42dacef9-563e-4981-99f8-4bad27f57fed"]),
            Self::Message => json!("the shift ends"),
        }
    }
}
