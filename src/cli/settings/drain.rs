//! How the server ends: what was written, and what is meant.

use super::{Settings, span};
use crate::{cli::units::Span, config::DrainConfig};

impl Settings {
    /// How long the connections may take to leave, and over how long they are told to.
    ///
    /// # Errors
    ///
    /// The spread that was asked for is longer than the grace period, and what could be done about it.
    pub(super) fn drain(&self) -> Result<DrainConfig, String> {
        let default = DrainConfig::default();
        let grace_period = span(self.grace_period, default.grace_period);
        let spread = match self.drain_spread {
            Some(Span(spread)) if spread > grace_period => {
                return Err(format!(
                    "drain-spread {spread:?} is longer than grace-period {grace_period:?}: some clients would be \
                     cut before they are told to leave; lengthen grace-period, or shorten drain-spread"
                ));
            }
            Some(Span(spread)) => spread,
            // Whoever asked for a short grace period alone did not ask for a longer spread.
            None => default.spread.min(grace_period),
        };
        Ok(DrainConfig { spread, grace_period })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The spread and the grace period.
    fn drain(file: &str) -> Result<[Duration; 2], String> {
        let settings: Settings = toml::from_str(file).unwrap();
        settings.drain().map(|DrainConfig { spread, grace_period }| [spread, grace_period])
    }

    #[test]
    fn a_spread_that_nobody_asked_for_is_cut_to_the_grace_period() {
        let is = |file: &str, expected: [u64; 2]| {
            assert_eq!(drain(file), Ok(expected.map(Duration::from_millis)), "{file}");
        };
        is("", [1_000, 5_000]);
        is("grace-period = '2s'", [1_000, 2_000]);
        is("grace-period = '400ms'", [400, 400]);
        is("grace-period = '0s'", [0, 0]);
        is("drain-spread = '5s'", [5_000, 5_000]);
        is("drain-spread = '10s'\ngrace-period = '1m'", [10_000, 60_000]);
    }

    #[test]
    fn one_that_was_asked_for_is_refused_with_both_settings_and_what_to_do() {
        for (file, expected) in [
            ("drain-spread = '6s'", "drain-spread 6s is longer than grace-period 5s: "),
            (
                "drain-spread = '500ms'\ngrace-period = '250ms'",
                "drain-spread 500ms is longer than grace-period 250ms: ",
            ),
        ] {
            let said = drain(file).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
            assert!(said.ends_with("; lengthen grace-period, or shorten drain-spread"), "{said}");
        }
    }
}
