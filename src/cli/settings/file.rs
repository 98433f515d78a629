//! The file of settings: what cannot be meant so is told with its line and its key.

use std::{collections::BTreeMap, ops::Range};

use clap::Args;
use toml::{Spanned, Value};

use super::Settings;

/// A longer value is not repeated: its line is told.
const MAX_SHOWN_CHARS: usize = 40;

/// Reads the text of the file.
///
/// # Errors
///
/// The line, the key, and what it must be.
pub(super) fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().unwrap_or_default();
        let line = text[..at.start].matches('\n').count() + 1;
        format!("line {line}: {}", explained(text, &at, &error.message().replace('\n', " ")))
    })
}

/// What is wrong there, with the key, which the parser knows and does not say.
fn explained(text: &str, at: &Range<usize>, said: &str) -> String {
    let Ok(entries) = toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(text) else {
        // It is no TOML, and so has no keys.
        return said.to_owned();
    };
    for (key, value) in &entries {
        let name = key.get_ref();
        if key.span().contains(&at.start) {
            return meant(name).map_or_else(
                || said.to_owned(),
                |meant| format!("unknown key {name}: it is written {meant}"),
            );
        }
        if value.span().contains(&at.start) {
            return must_be(name, &text[at.clone()], said);
        }
    }
    said.to_owned()
}

/// The setting that differs from this by letter case, or by `_` for `-`, alone.
fn meant(name: &str) -> Option<String> {
    let written = name.to_ascii_lowercase().replace('_', "-");
    setting(&written).map(|_| written)
}

fn setting(name: &str) -> Option<clap::Arg> {
    let settings = Settings::augment_args(clap::Command::new("serve"));
    settings.get_arguments().find(|arg| arg.get_long() == Some(name)).cloned()
}

/// The words of a setting that is one of several, as the parser writes them.
fn words(name: &str) -> String {
    let possible = setting(name).map(|arg| arg.get_possible_values()).unwrap_or_default();
    let words: Vec<_> = possible.iter().map(|word| format!("`{}`", word.get_name())).collect();
    format!("one of {}", words.join(", "))
}

/// The same as the parser says, in the words of people who write files.
fn must_be(name: &str, value: &str, said: &str) -> String {
    let words = words(name);
    let expected = match said.split_once(", expected ") {
        Some((_, expected)) => expected,
        // So the parser says of what is no text where one of several words must be.
        None if said.starts_with("wanted ") => &words,
        None => return format!("{name}: {said}"),
    };
    let expected = match expected {
        "usize" | "u32" => "a whole number, 0 or more",
        "a boolean" => "a boolean, true or false",
        "a string" | "path string" => "a text between quotes",
        "a sequence" => "a list of texts, like [\"a\", \"b\"]",
        other => other,
    };
    let is_short = value.chars().count() <= MAX_SHOWN_CHARS && !value.contains(['\n', '\r']);
    let not = if is_short { format!(", not {value}") } else { String::new() };
    format!("{name} must be {expected}{not}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_told_with_its_key_and_what_it_must_be() {
        refused(
            "heartbeat = 5",
            "line 1: heartbeat must be a duration like \"250ms\", \"30s\" or \"5m\", not 5",
        );
        refused(
            "echo = true\nmax-sessions = 'x'",
            "line 2: max-sessions must be a whole number, 0 or more, not 'x'",
        );
        refused("max-sessions = 1.5", "line 1: max-sessions must be a whole number, 0 or more, not 1.5");
        refused(
            "max-message-rate = -1",
            "line 1: max-message-rate must be a whole number, 0 or more, not -1",
        );
        refused(
            "max-message-bytes = -1",
            "line 1: max-message-bytes must be a size like 65536 or \"64KiB\", not -1",
        );
        refused(
            "max-message-bytes = '64kb'",
            "line 1: max-message-bytes: \"64kb\" is no size: write it like 65536, 64KiB or 16MiB",
        );
        refused(
            "idle-timeout = 5",
            "line 1: idle-timeout must be a duration like \"30m\", or some by scope like \"browser=30m,ios=2h\", not 5",
        );
        refused("idle-timeout = 'ios=1s,IOS=2s'", "line 1: idle-timeout: \"ios=1s,IOS=2s\" names ios twice");
        refused("echo = 'yes'", "line 1: echo must be a boolean, true or false, not 'yes'");
        refused("listen = 8080", "line 1: listen must be a text between quotes, not 8080");
        refused("tls-cert = 8080", "line 1: tls-cert must be a text between quotes, not 8080");
        refused("identity = 'x'", "line 1: identity must be one of `open`, `jwt`, `header`, not 'x'");
        refused("log = 1", "line 1: log must be one of `error`, `warn`, `info`, `debug`, `trace`, not 1");
        refused(
            "allowed-hosts = 'plant'",
            "line 1: allowed-hosts must be a list of texts, like [\"a\", \"b\"], not 'plant'",
        );
        refused("allowed-hosts = ['a',\n 2]", "line 2: allowed-hosts must be a text between quotes, not 2");
        let long = "x".repeat(50);
        refused(&format!("max-ended = '{long}'"), "line 1: max-ended must be a whole number, 0 or more");
    }

    #[test]
    fn a_key_in_other_letters_is_told_how_it_is_written() {
        refused(
            "admin_listen = '127.0.0.1:1'",
            "line 1: unknown key admin_listen: it is written admin-listen",
        );
        refused("\nEcho = true", "line 2: unknown key Echo: it is written echo");
        let unlike = parse("admin = 1").unwrap_err();
        assert!(unlike.starts_with("line 1: unknown field `admin`, expected one of `listen`, "), "{unlike}");
    }

    #[test]
    fn every_setting_can_be_written_in_the_file() {
        let settings = Settings::augment_args(clap::Command::new("serve"));
        for name in settings.get_arguments().filter_map(clap::Arg::get_long) {
            let said = parse(&format!("{name} = {{}}")).unwrap_err();
            assert!(said.starts_with(&format!("line 1: {name} must be ")), "{said}");
        }
    }
}
