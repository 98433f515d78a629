//! What a record shows of itself.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    net::IpAddr,
    str,
};

use super::{Invalid, op::Op};

/// Something that has fields: a live session, or an ended one.
///
/// What a record does not show cannot be asked for: to hide a field from someone, show him a record that
/// answers [`Value::Null`] there.
pub trait Record {
    /// The fields of this kind of record.
    type Field: Field;

    /// What no other record has; it settles the order of records that are otherwise equal.
    fn id(&self) -> &str;

    /// A field's value: of the kind that [`Field::ALL`] says, or [`Value::Null`].
    ///
    /// A value of another kind fits no condition but `ne`.
    fn value(&self, field: Self::Field) -> Value<'_>;
}

/// The fields of one kind of record; an enum of them, as a rule.
pub trait Field: Copy + PartialEq + 'static {
    /// Every field, the name it is asked by, and the kind of its values.
    const ALL: &'static [(Self, &'static str, Kind)];
}

/// What kind of values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// A list of texts.
    Texts,
    /// A whole number: a count, bytes, or milliseconds.
    Number,
    /// True or false.
    Bool,
    /// An IP address.
    Address,
    /// A moment.
    Time,
}

impl Kind {
    /// The operators that fit such a field.
    pub fn operators(self) -> impl Iterator<Item = Op> {
        Op::ALL.into_iter().filter(move |op| op.fits(self))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Address => "an address",
            Self::Time => "a time",
        })
    }
}

/// A field's value, borrowed from its record.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// There is none.
    Null,
    /// Of a [`Kind::Text`].
    Text(&'a str),
    /// Of a [`Kind::Texts`].
    Texts(&'a dyn Texts),
    /// Of a [`Kind::Number`].
    Number(u64),
    /// Of a [`Kind::Bool`].
    Bool(bool),
    /// Of a [`Kind::Address`].
    Address(IpAddr),
    /// Of a [`Kind::Time`]: milliseconds since 1970 in UTC, which may lie before.
    Time(i64),
}

/// A list of texts, whatever it is kept in.
pub trait Texts {
    /// Whether `fits` says so of any text; it is asked of one after the other until it does.
    fn any(&self, fits: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl<T: AsRef<str>> Texts for Vec<T> {
    fn any(&self, fits: &mut dyn FnMut(&str) -> bool) -> bool {
        self.iter().any(|text| fits(text.as_ref()))
    }
}

/// A value that is no list, in the form in which values are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// A number, or a moment in nanoseconds since 1970.
    Whole(i128),
    /// Never an IPv4 address in IPv6 clothes.
    Address(IpAddr),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    pub(super) const NANOS_PER_MILLI: i128 = 1_000_000;

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'a> Value<'a> {
    /// `None` for a list.
    pub(super) fn scalar(self) -> Option<Scalar<'a>> {
        Some(match self {
            Value::Null => Scalar::Null,
            Value::Text(text) => Scalar::Text(text.into()),
            Value::Number(number) => Scalar::Whole(number.into()),
            Value::Bool(truth) => Scalar::Bool(truth),
            Value::Address(address) => Scalar::Address(address.to_canonical()),
            Value::Time(ms) => Scalar::Whole(i128::from(ms) * Scalar::NANOS_PER_MILLI),
            Value::Texts(_) => return None,
        })
    }

    /// Whether `fits` says so of the text, of any text of a list, or of the address as rows show it.
    pub(super) fn any_text(self, fits: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Value::Text(text) => fits(text),
            Value::Texts(texts) => texts.any(fits),
            Value::Address(address) => {
                let mut shown = Shown::default();
                write!(shown, "{address}").is_ok() && fits(shown.as_str())
            }
            Value::Null | Value::Number(_) | Value::Bool(_) | Value::Time(_) => false,
        }
    }
}

/// An address as text. It is written for each record that is looked at, so not on the heap.
#[derive(Default)]
struct Shown {
    // No textual address is longer than 45 bytes (RFC 4291, 2.2).
    bytes: [[u8; 16]; 3],
    len: usize,
}

impl Shown {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes.as_flattened()[..self.len]).unwrap_or_default()
    }
}

impl Write for Shown {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        let place = self.bytes.as_flattened_mut().get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The field of a name.
///
/// # Errors
///
/// There is none in `allowed`; they are listed.
pub(super) fn find<F: Field>(
    name: &str,
    place: &str,
    allowed: impl Fn(Kind) -> bool,
) -> Result<(F, &'static str, Kind), Invalid> {
    let mut fields = F::ALL.iter().filter(|(_, _, kind)| allowed(*kind));
    if let Some(found) = fields.clone().find(|(_, known, _)| *known == name) {
        return Ok(*found);
    }
    let shown = super::shown(name);
    if let Some((_, meant, _)) = fields.find(|(_, known, _)| known.eq_ignore_ascii_case(name)) {
        return Err(Invalid(format!("unknown field {shown} in {place}: it is written {meant}")));
    }
    let known: Vec<_> =
        F::ALL.iter().filter(|(_, _, kind)| allowed(*kind)).map(|(_, name, _)| *name).collect();
    Err(Invalid(format!("unknown field {shown} in {place}; known: {}", known.join(", "))))
}
