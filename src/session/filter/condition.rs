//! One condition: how it is read, and how it is held against a value.

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::{
    Glob, Invalid, Kind, MAX_GLOB_CHARS, MAX_REGEX_BYTES, MAX_REGEXES, Value, op::Op, operand::Given,
    record::Scalar, shown,
};

/// What a field's value must be.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// One of these, which are sorted; since there may be a thousand, they are looked up.
    Among(Vec<Scalar<'static>>),
    /// None of these, which are sorted.
    NotAmong(Vec<Scalar<'static>>),
    /// On the right side of any of these.
    Beyond(fn(&i128, &i128) -> bool, Vec<i128>),
    /// In any of these.
    Within(Vec<IpNet>),
    /// A text that has any of these in the right place.
    Part(fn(&str, &str) -> bool, Vec<Box<str>>),
    /// A text that fits any of these.
    Globs(Vec<Glob>),
    /// A text in which any of these is found.
    Regexes(Vec<Regex>),
}

/// What patterns may still cost in one filter.
pub(super) struct Budget {
    glob_chars: usize,
    regexes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { glob_chars: MAX_GLOB_CHARS, regexes: MAX_REGEXES }
    }
}

impl Test {
    /// Reads a condition; `key` is what it is called, `field[op]`.
    ///
    /// # Errors
    ///
    /// The first value that does not fit, or the budget that is spent.
    pub(super) fn read(
        (kind, op, key): (Kind, Op, &str),
        values: &[Given<'_>],
        budget: &mut Budget,
    ) -> Result<Self, Invalid> {
        let values = values.iter().copied();
        let beyond = |compare| {
            let bounds = values.clone().map(|value| value.whole(kind, key));
            Ok(Self::Beyond(compare, bounds.collect::<Result<_, _>>()?))
        };
        let part = |has| {
            let parts = values.clone().map(|value| value.text(key).map(Into::into));
            Ok(Self::Part(has, parts.collect::<Result<_, _>>()?))
        };
        Ok(match op {
            Op::Eq | Op::In | Op::Ne => {
                let mut wanted: Vec<_> =
                    values.map(|value| value.scalar(kind, key)).collect::<Result<_, _>>()?;
                wanted.sort_unstable();
                if op == Op::Ne { Self::NotAmong(wanted) } else { Self::Among(wanted) }
            }
            Op::Gt => beyond(i128::gt)?,
            Op::Gte => beyond(i128::ge)?,
            Op::Lt => beyond(i128::lt)?,
            Op::Lte => beyond(i128::le)?,
            Op::Cn => part(|text, part| text.contains(part))?,
            Op::Sw => part(|text, part| text.starts_with(part))?,
            Op::Ew => part(|text, part| text.ends_with(part))?,
            Op::Cidr => Self::Within(values.map(|value| value.network(key)).collect::<Result<_, _>>()?),
            Op::Glob => {
                let globs = values.map(|value| budget.glob(value.text(key)?, key));
                Self::Globs(globs.collect::<Result<_, _>>()?)
            }
            Op::Rgx => {
                let regexes = values.map(|value| budget.regex(value.text(key)?, key));
                Self::Regexes(regexes.collect::<Result<_, _>>()?)
            }
        })
    }

    /// The texts of which one must be there, if nothing else passes.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        let Self::Among(wanted) = self else { return None };
        wanted.iter().map(Scalar::as_text).collect()
    }

    /// How many microseconds it may take at the worst to hold it against a value, about: a text of 512 characters that
    /// was made for it. What has no pattern and no long list of parts takes none.
    pub(super) fn worst_us(&self) -> usize {
        /// Networks or parts of texts.
        const PARTS_PER_US: usize = 16;
        const REGEX_US: usize = 5_000;
        match self {
            Self::Among(_) | Self::NotAmong(_) | Self::Beyond(..) => 0,
            Self::Within(networks) => networks.len() / PARTS_PER_US,
            Self::Part(_, parts) => parts.len() / PARTS_PER_US,
            Self::Globs(globs) => globs.iter().map(Glob::steps_again).sum(),
            Self::Regexes(regexes) => regexes.len() * REGEX_US,
        }
    }

    /// Whether the value passes.
    pub(super) fn passes(&self, value: Value<'_>) -> bool {
        match self {
            Self::Among(wanted) => is_among(value, wanted),
            Self::NotAmong(wanted) => !is_among(value, wanted),
            Self::Beyond(compare, bounds) => {
                let Some(Scalar::Whole(number)) = value.scalar() else { return false };
                bounds.iter().any(|bound| compare(&number, bound))
            }
            Self::Within(networks) => {
                let Some(Scalar::Address(address)) = value.scalar() else { return false };
                networks.iter().any(|network| network.contains(&address))
            }
            Self::Part(has, parts) => value.any_text(&mut |text| parts.iter().any(|part| has(text, part))),
            Self::Globs(globs) => value.any_text(&mut |text| globs.iter().any(|glob| glob.matches(text))),
            Self::Regexes(regexes) => {
                value.any_text(&mut |text| regexes.iter().any(|regex| regex.is_match(text)))
            }
        }
    }
}

/// Whether the value, or any text of a list, is among those wanted. An empty list is no value.
fn is_among(value: Value<'_>, wanted: &[Scalar<'_>]) -> bool {
    if let Some(scalar) = value.scalar() {
        return wanted.binary_search(&scalar).is_ok();
    }
    let mut empty = true;
    let found = value.any_text(&mut |text| {
        empty = false;
        wanted.binary_search(&Scalar::Text(text.into())).is_ok()
    });
    found || empty && wanted.first() == Some(&Scalar::Null)
}

impl Budget {
    fn glob(&mut self, pattern: &str, key: &str) -> Result<Glob, Invalid> {
        let chars = pattern_chars(pattern, key)?;
        self.glob_chars = self.glob_chars.checked_sub(chars).ok_or_else(|| {
            Invalid(format!("the glob patterns of a filter have at most {MAX_GLOB_CHARS} characters in all"))
        })?;
        Ok(Glob::new(pattern))
    }

    fn regex(&mut self, pattern: &str, key: &str) -> Result<Regex, Invalid> {
        pattern_chars(pattern, key)?;
        self.regexes = self
            .regexes
            .checked_sub(1)
            .ok_or_else(|| Invalid(format!("a filter has at most {MAX_REGEXES} rgx patterns in all")))?;
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES);
        builder.build().map_err(|error| {
            let shown = shown(pattern);
            Invalid(match error {
                regex::Error::CompiledTooBig(_) => {
                    let kib = MAX_REGEX_BYTES / 1024;
                    format!("{key} is too large a pattern: {shown} needs more than {kib} KiB")
                }
                error => {
                    // The whole error is a drawing of many lines; the reason is its last.
                    let error = error.to_string();
                    let reason = error.rsplit("error: ").next().unwrap_or_default();
                    format!("{key} must be a regular expression, not {shown}: {reason}")
                }
            })
        })
    }
}

fn pattern_chars(pattern: &str, key: &str) -> Result<usize, Invalid> {
    let chars = pattern.chars().count();
    if chars > Glob::MAX_CHARS {
        let message = format!("a pattern of {key} has at most {} characters, not {chars}", Glob::MAX_CHARS);
        return Err(Invalid(message));
    }
    Ok(chars)
}
