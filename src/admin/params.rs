//! The parameters of a method, by name or by position. What is wrong with one names it, and what it must be.

use std::{cell::Cell, fmt, iter};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, MapAccess, SeqAccess, Visitor,
        value::{self, MapDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, value::RawValue};

use super::rpc::Error;
use crate::session::text::{shown, without_place};

/// A value that cannot be meant: which parameter it is of, and what that must be.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl From<Wrong> for Error {
    fn from(Wrong(message): Wrong) -> Self {
        Self::invalid_params(message)
    }
}

/// The named parameters of a method that takes an object: `params` itself, or its only element. Their types are to be
/// checked by name: [`string`], [`whole`] and so on.
pub(super) fn object<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<T, Error> {
    let members = members(params)?;
    let known = names_of::<T>();
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in &members {
        if !known.contains(&&**name) {
            return Err(unknown(name, known));
        }
        if seen.contains(&&**name) {
            return Err(twice(name));
        }
        seen.push(name);
    }
    // The one that is being read, until all are.
    let reading = Cell::new(None);
    let each = members.iter().map(|(name, value)| {
        reading.set(Some(name));
        (&**name, *value)
    });
    let end = iter::from_fn(|| {
        reading.set(None);
        None
    });
    T::deserialize(MapDeserializer::new(each.chain(end))).map_err(|error| {
        let said = without_place(&error.to_string()).to_owned();
        Error::invalid_params(match reading.get() {
            Some(name) => unreadable(name, &said),
            None => said,
        })
    })
}

/// The same as they were given, for the audit log: also those that cannot be meant, but never the payload, which is the
/// application's.
pub(super) fn as_given(params: Option<&RawValue>) -> Value {
    let Ok(members) = members(params) else { return Value::Null };
    let given = members.into_iter().filter(|(name, _)| name != "payload");
    let given = given.map(|(name, value)| (name, as_value(value).unwrap_or_else(|_| value.get().into())));
    given.collect::<Map<_, _>>().into()
}

/// Text arguments by position or by name; absent and null are `None`.
pub(super) fn arguments<const N: usize>(
    params: Option<&RawValue>,
    names: &[&str; N],
) -> Result<[Option<String>; N], Error> {
    let mut found = [const { None }; N];
    let mut set = |at: usize, value: &RawValue| {
        let value = as_value(value).map_err(|said| Error::invalid_params(unreadable(names[at], &said)))?;
        found[at] = string(names[at], Some(value))?;
        Ok::<_, Error>(())
    };
    match read(params)? {
        Params::Absent => {}
        Params::ByPosition(values) => {
            if values.len() > N {
                let message = format!("at most {N} parameters: {}", names.join(", "));
                return Err(Error::invalid_params(message));
            }
            values.into_iter().enumerate().try_for_each(|(at, value)| set(at, value))?;
        }
        Params::ByName(values) => {
            let mut seen = Vec::new();
            for (name, value) in values {
                let Some(at) = names.iter().position(|known| *known == name) else {
                    return Err(unknown(&name, names));
                };
                if seen.contains(&at) {
                    return Err(twice(&name));
                }
                seen.push(at);
                set(at, value)?;
            }
        }
    }
    Ok(found)
}

/// A parameter that is needed.
pub(super) fn needed<T>(name: &str, value: Option<T>) -> Result<T, Wrong> {
    value.ok_or_else(|| Wrong(format!("{name} is needed")))
}

/// A text, an empty one too.
pub(super) fn string(name: &str, value: Option<Value>) -> Result<Option<String>, Wrong> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Wrong(format!("{name} must be a string or null, not {}", kind(&other)))),
    }
}

/// A text; an empty one is none.
pub(super) fn text(name: &str, value: Option<Value>) -> Result<Option<String>, Wrong> {
    Ok(string(name, value)?.filter(|text| !text.is_empty()))
}

/// A text that is needed.
pub(super) fn needed_string(name: &str, value: Option<Value>) -> Result<String, Wrong> {
    match value {
        None | Some(Value::Null | Value::String(_)) => needed(name, string(name, value)?),
        Some(other) => Err(Wrong(format!("{name} must be a string, not {}", kind(&other)))),
    }
}

/// A whole number.
pub(super) fn whole(name: &str, value: Option<Value>) -> Result<Option<i64>, Wrong> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_i64() {
        Some(number) => Ok(Some(number)),
        None if value.is_number() => Err(Wrong(format!("{name} must be a whole number, not {value}"))),
        None => Err(Wrong(format!("{name} must be a whole number, not {}", kind(&value)))),
    }
}

/// Yes or no; absent it is no.
pub(super) fn flag(name: &str, value: Option<&Value>) -> Result<bool, Wrong> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(Wrong(format!("{name} must be true or false, not {}", kind(other)))),
    }
}

/// What a value is, for whoever gave another one.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn unreadable(name: &str, said: &str) -> String {
    format!("{name} cannot be read: {said}")
}

fn unknown(name: &str, known: &[&str]) -> Error {
    let shown = shown(name);
    Error::invalid_params(match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(meant) => format!("unknown parameter {shown}: it is written {meant}"),
        None if known.is_empty() => format!("unknown parameter {shown}; known: none"),
        None => format!("unknown parameter {shown}; known: {}", known.join(", ")),
    })
}

fn twice(name: &str) -> Error {
    Error::invalid_params(format!("{name} is given twice"))
}

/// A value as one, or what the reader says of it: a number may be too large for any of ours.
fn as_value(raw: &RawValue) -> Result<Value, String> {
    serde_json::from_str(raw.get()).map_err(|error| without_place(&error.to_string()).to_owned())
}

/// The parameters of a method that takes an object, as they were written.
fn members(params: Option<&RawValue>) -> Result<Vec<(String, &RawValue)>, Error> {
    let one_object = || Error::invalid_params("the parameters are one object");
    match read(params)? {
        Params::Absent => Ok(Vec::new()),
        Params::ByName(members) => Ok(members),
        Params::ByPosition(values) => match *values {
            [] => Ok(Vec::new()),
            [object] => match read(Some(object)) {
                Ok(Params::ByName(members)) => Ok(members),
                _ => Err(one_object()),
            },
            _ => Err(one_object()),
        },
    }
}

fn read(params: Option<&RawValue>) -> Result<Params<'_>, Error> {
    let Some(params) = params else { return Ok(Params::Absent) };
    serde_json::from_str(params.get())
        .map_err(|error| Error::invalid_params(without_place(&error.to_string())))
}

/// Parameters as they were written: names that come twice are kept, to be refused.
enum Params<'a> {
    Absent,
    ByPosition(Vec<&'a RawValue>),
    ByName(Vec<(String, &'a RawValue)>),
}

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl<'de> Visitor<'de> for AsWritten {
            type Value = Params<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array or an object")
            }

            fn visit_unit<E>(self) -> Result<Params<'de>, E> {
                Ok(Params::Absent)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Params<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(value) = values.next_element()? {
                    found.push(value);
                }
                Ok(Params::ByPosition(found))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Params<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = values.next_entry()? {
                    found.push(entry);
                }
                Ok(Params::ByName(found))
            }
        }
        deserializer.deserialize_any(AsWritten)
    }
}

/// The names of the fields of a type, as they are written.
fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    /// Takes down what it is asked for, and has nothing.
    struct Asked<'a>(&'a Cell<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("nothing is here"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            names: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.set(names);
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let names = Cell::new(&[][..]);
    let _ = T::deserialize(Asked(&names));
    names.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Some2 {
        #[allow(dead_code, reason = "only its name is of interest")]
        session_id: Option<Value>,
        all: Option<Value>,
    }

    #[track_caller]
    fn fails(params: &str, expected: &str) {
        let raw = RawValue::from_string(params.to_owned()).unwrap();
        let error = object::<Some2>(Some(&raw)).unwrap_err();
        assert_eq!(error.message(), expected, "{params}");
    }

    #[test]
    fn what_is_wrong_with_a_parameter_names_it_and_no_place() {
        fails(r#"{"x":1}"#, r#"unknown parameter "x"; known: sessionId, all"#);
        fails(r#"{"sessionID":1}"#, r#"unknown parameter "sessionID": it is written sessionId"#);
        fails(r#"{"all":true,"all":true}"#, "all is given twice");
        fails(r#"{"sessionId":"a","all":1e400}"#, "all cannot be read: number out of range");
        fails("[{},{}]", "the parameters are one object");
        fails("[1]", "the parameters are one object");
        let raw = RawValue::from_string(r#"[{"all":true}]"#.to_owned()).unwrap();
        assert_eq!(object::<Some2>(Some(&raw)).unwrap().all, Some(true.into()));
        assert_eq!(object::<Some2>(None).unwrap().all, None);
    }
}
