//! The values of the flags, as they are written.

use std::{str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue};

use crate::cli::units::Span;

/// So often a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(pub(super) f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text.parse().ok().filter(|rate| (0.0..=1_000_000.0).contains(rate));
        rate.map(Self)
            .ok_or_else(|| format!("{text:?} is no rate: write it like 0.5 or 100, at most 1000000"))
    }
}

/// A share: `5%`, or `0.05`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share(pub(super) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(|percent: f64| percent / 100.0),
            None => text.parse().ok(),
        };
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no share: write it like 5% or 0.05, at most 100% or 1"))
    }
}

/// Sessions a second: so many, or a share of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Churn {
    Number(Rate),
    Share(Share),
}

impl Churn {
    pub(super) fn of(self, sessions: u32) -> f64 {
        match self {
            Self::Number(Rate(rate)) => rate,
            Self::Share(Share(share)) => share * f64::from(sessions),
        }
    }
}

impl FromStr for Churn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with('%') { text.parse().map(Self::Share) } else { text.parse().map(Self::Number) }
    }
}

/// A duration; a number alone is seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seconds(pub(super) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = text.parse::<f64>().is_ok();
        let Span(duration) = if is_number { format!("{text}s").parse() } else { text.parse() }?;
        Ok(Self(duration))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Header(pub(super) HeaderName, pub(super) HeaderValue);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (name, value) = text.split_once(':')?;
            Some(Self(name.trim().parse().ok()?, value.trim().parse().ok()?))
        };
        // The value may be a secret: it is not repeated.
        read().ok_or_else(|| "a header is written like \"Name: value\"".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_may_be_plain_seconds() {
        let duration = |text: &str| text.parse::<Seconds>().ok().map(|seconds| seconds.0.as_millis());
        assert_eq!(duration("30"), Some(30_000));
        assert_eq!(duration("0.5"), Some(500));
        assert_eq!(duration("30s"), Some(30_000));
        assert_eq!(duration("5m"), Some(300_000));
        for bad in ["", "x", "-1", "inf", "5 m"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_are_read_as_curl_reads_them() {
        let Header(name, value) = "Authorization: Bearer a:b".parse().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer a:b"));
    }

    #[test]
    fn a_share_is_percent_or_a_part_of_one() {
        let share = |text: &str| text.parse::<Share>().ok().map(|share| share.0);
        assert_eq!((share("5%"), share("0.05"), share("100%")), (Some(0.05), Some(0.05), Some(1.0)));
        for bad in ["", "%", "5", "101%", "-1%", "nan", "nan%"] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }
}
