//! The variables of the environment that are ours, and those that only look so.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::session::text::clean;

/// What ours begin with. Other programs' may as well, such as what an orchestrator tells of a service of this name.
const PREFIX: &str = "HEADCOUNT_";

/// Those that are no flag's: the token, and how long the scripting function waits.
const WITHOUT_FLAG: [&str; 2] = ["HEADCOUNT_ADMIN_TOKEN", "HEADCOUNT_TIMEOUT"];

/// Those of the project's own tests and benchmarks begin so.
const OF_TESTS: [&str; 2] = ["HEADCOUNT_TEST_", "HEADCOUNT_BENCH_"];

/// Names the variables that look like settings and are none: nobody would else learn of a misspelt limit.
pub(super) fn warning() -> Option<String> {
    warning_of(std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()))
}

fn warning_of(names: impl Iterator<Item = String>) -> Option<String> {
    let known = known();
    let is_ours = |name: &String| {
        let upper = name.to_ascii_uppercase();
        upper.replace('-', "_").starts_with(PREFIX)
            && !OF_TESTS.iter().any(|prefix| upper.starts_with(prefix))
    };
    let mut unknown: Vec<_> = names.filter(|name| is_ours(name) && !known.contains(name)).collect();
    unknown.sort_unstable();
    let told: Vec<_> = unknown
        .iter()
        .map(|name| {
            let written = name.to_ascii_uppercase().replace('-', "_");
            let hint =
                if known.contains(&written) { format!(" (it is written {written})") } else { String::new() };
            format!("{}{hint}", clean(name))
        })
        .collect();
    (!told.is_empty()).then(|| {
        format!("in the environment and not heeded, since no setting is called so: {}", told.join(", "))
    })
}

/// Every variable that some command of the program takes.
fn known() -> Vec<String> {
    fn of(command: &clap::Command, found: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        found.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| of(command, found));
    }
    let mut found = WITHOUT_FLAG.map(str::to_owned).to_vec();
    of(&super::Arguments::command(), &mut found);
    found
}

/// The variable that a flag's value was taken from, if the flag is not among what was typed.
pub(super) fn variable_of(flag: &str, typed: &[OsString]) -> Option<String> {
    fn of(command: &clap::Command, name: &str) -> Option<String> {
        let own =
            command.get_arguments().find(|arg| arg.get_long() == Some(name)).and_then(clap::Arg::get_env);
        let own = own.map(|variable| variable.to_string_lossy().into_owned());
        own.or_else(|| command.get_subcommands().find_map(|command| of(command, name)))
    }
    let is_typed = |word: &OsString| {
        let word = word.to_string_lossy();
        word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if typed.iter().any(is_typed) {
        return None;
    }
    of(&super::Arguments::command(), flag.strip_prefix("--")?).filter(|name| std::env::var_os(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Option<String> {
        warning_of(names.iter().map(|&name| name.to_owned()))
    }

    #[test]
    fn what_is_ours_or_nothing_like_it_is_not_told() {
        let ours = [
            "HEADCOUNT_LISTEN",
            "HEADCOUNT_CONFIG",
            "HEADCOUNT_ADMIN",
            "HEADCOUNT_ADMIN_TOKEN",
            "HEADCOUNT_ADMIN_TOKENS",
            "HEADCOUNT_TOKEN_FILE",
            "HEADCOUNT_CA_FILE",
            "HEADCOUNT_TIMEOUT",
            "HEADCOUNT_TEST_REQUIRE",
            "HEADCOUNT_BENCH_UWS",
            "PATH",
            "HEADCOUNTS",
            "MY_HEADCOUNT_LISTEN",
        ];
        assert_eq!(told(&ours), None);
    }

    #[test]
    fn what_looks_like_a_setting_is_told_in_order_with_how_it_is_written_if_that_is_clear() {
        let said = told(&[
            "headcount_echo",
            "HEADCOUNT_MAX-SESSIONS",
            "HEADCOUNT_PORT",
            "HEADCOUNT_A\u{1b}B",
            "HOME",
        ]);
        assert_eq!(
            said.as_deref(),
            Some(
                "in the environment and not heeded, since no setting is called so: HEADCOUNT_AB, \
                 HEADCOUNT_MAX-SESSIONS (it is written HEADCOUNT_MAX_SESSIONS), HEADCOUNT_PORT, \
                 headcount_echo (it is written HEADCOUNT_ECHO)"
            )
        );
    }
}
