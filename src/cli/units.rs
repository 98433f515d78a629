//! How durations and sizes are written by people and for people (PROTOCOL 1).

use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

use crate::session::SessionScope;

/// A duration as it is written: `250ms`, `30s`, `5m`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);

/// A size as it is written: `65536`, `64KiB`, `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no duration: write it like 250ms, 30s or 5m");
        let (number, unit) = split_unit(text);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let longest = Duration::from_secs(366 * 24 * 3600);
        match Duration::try_from_secs_f64(number * seconds) {
            Ok(duration) if duration <= longest => Ok(Self(duration)),
            _ => Err(format!("{text:?} is too long: a year is the most")),
        }
    }
}

/// How long a user may do nothing, by scope in the order of [`SessionScope::ALL`]; in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdleTimes(pub(crate) [Option<u64>; 4]);

impl FromStr for IdleTimes {
    type Err = String;

    /// `30m` for all, or `browser=30m,designer=8h` for some.
    fn from_str(text: &str) -> Result<Self, String> {
        let ms = |text: &str| {
            let Span(duration) = text.parse()?;
            u64::try_from(duration.as_millis()).map_err(|_| text.to_owned())
        };
        let times = match text.contains('=') {
            true => SessionScope::read_each(text, "30m, or browser=30m,ios=2h", ms)?,
            false => [Some(ms(text)?); 4],
        };
        Ok(Self(times.map(|time| time.filter(|ms| *ms > 0))))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no size: write it like 65536, 64KiB or 16MiB");
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(bad()),
        };
        let number: usize = number.parse().map_err(|_| bad())?;
        number.checked_mul(factor).map(Self).ok_or_else(bad)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(at)
}

/// How a value is written in the file: as text, or as a number where that alone says what is meant.
struct Written<T> {
    /// Completes "must be …".
    must_be: &'static str,
    number: fn(usize) -> Option<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.must_be)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let read = usize::try_from(number).ok().and_then(self.number);
        read.ok_or_else(|| E::invalid_type(Unexpected::Signed(number), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let must_be = "a duration like \"250ms\", \"30s\" or \"5m\"";
        deserializer.deserialize_any(Written { must_be, number: |_| None })
    }
}

impl<'de> Deserialize<'de> for IdleTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let must_be = "a duration like \"30m\", or some by scope like \"browser=30m,ios=2h\"";
        deserializer.deserialize_any(Written { must_be, number: |_| None })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let must_be = "a size like 65536 or \"64KiB\"";
        deserializer.deserialize_any(Written { must_be, number: |bytes| Some(Self(bytes)) })
    }
}

/// A span of milliseconds in its two greatest units: `340ms`, `5.2s`, `3m07s`, `2h05m`, `4d03h`.
pub(crate) fn human_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number of bytes to three digits or so: `512 B`, `1.5 KiB`, `23 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024 is shown as 1.0 of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_with_its_unit_and_never_without() {
        let read = |text: &str| text.parse::<Span>().ok().map(|span| span.0);
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read("30s"), Some(Duration::from_secs(30)));
        assert_eq!(read("5m"), Some(Duration::from_secs(300)));
        assert_eq!(read("1.5h"), Some(Duration::from_secs(5400)));
        for bad in ["", "30", "s", "-1s", "1 s", "1d", "1.1.1s", "999999999999999999999h"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn idle_times_are_for_all_scopes_or_by_scope() {
        let read = |text: &str| text.parse::<IdleTimes>().ok().map(|times| times.0);
        assert_eq!(read("2s"), Some([Some(2_000); 4]));
        assert_eq!(read("0s"), Some([None; 4]));
        assert_eq!(read("browser=1s, ios=2s"), Some([None, Some(1_000), Some(2_000), None]));
        assert_eq!(read("Browser=0s,IOS=2s"), Some([None, None, Some(2_000), None]));
        for bad in ["", "browser", "browser=", "desktop=1s", "browser=1", "browser=1s,", "ios=1s,IOS=1s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_size_is_read_in_bytes_or_binary_units() {
        let read = |text: &str| text.parse::<Size>().ok().map(|size| size.0);
        assert_eq!(read("65536"), Some(65536));
        assert_eq!(read("64KiB"), Some(65536));
        assert_eq!(read("16MiB"), Some(16 << 20));
        for bad in ["", "KiB", "64kb", "1.5KiB", "-1", "99999999999999999GiB"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_shown_short() {
        let spans = [(0, "0ms"), (999, "999ms"), (1000, "1.0s"), (59_999, "59.9s"), (187_000, "3m07s")];
        for (ms, expected) in spans {
            assert_eq!(human_ms(ms), expected);
        }
        assert_eq!(human_ms(7_500_000), "2h05m");
        assert_eq!(human_ms(99 * 3_600_000), "4d03h");
        let sizes = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10_240, "10 KiB")];
        for (bytes, expected) in sizes {
            assert_eq!(human_bytes(bytes), expected);
        }
        assert_eq!(human_bytes(1_048_575), "1.0 MiB");
        assert_eq!(human_bytes(23 << 20), "23 MiB");
        assert_eq!(human_bytes(u64::MAX), "16 EiB");
    }
}
