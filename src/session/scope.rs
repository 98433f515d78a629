use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a session runs (PROTOCOL, "Words").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "Where a session runs.")]
pub enum SessionScope {
    /// The development tool of the application.
    Designer,
    /// A web browser, and whatever names itself nothing else.
    Browser,
    /// An app on an Apple phone or tablet.
    Ios,
    /// An app on an Android device.
    Android,
}

impl SessionScope {
    /// Every scope, in the order the protocol lists them.
    pub const ALL: [Self; 4] = [Self::Designer, Self::Browser, Self::Ios, Self::Android];

    /// The scope as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Designer => "designer",
            Self::Browser => "browser",
            Self::Ios => "ios",
            Self::Android => "android",
        }
    }

    /// Guesses the scope of a client that did not say (PROTOCOL 2.1).
    pub fn from_user_agent(user_agent: &str) -> Self {
        let names = |any: &[&str]| any.iter().any(|name| user_agent.contains(name));
        if names(&["iPhone", "iPad", "CFNetwork", "Darwin"]) {
            Self::Ios
        } else if names(&["Android", "okhttp"]) {
            Self::Android
        } else {
            Self::Browser
        }
    }
}

impl fmt::Display for SessionScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SessionScope {
    type Err = UnknownScope;

    /// Any letter case is understood (PROTOCOL 2.1).
    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str().eq_ignore_ascii_case(name)).ok_or(UnknownScope)
    }
}

/// A word that names no [`SessionScope`].
#[derive(Debug, thiserror::Error)]
#[error("must be designer, browser, ios or android")]
pub struct UnknownScope;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn guessed(user_agent: &str, expected: SessionScope) {
        assert_eq!(SessionScope::from_user_agent(user_agent), expected, "{user_agent}");
    }

    #[test]
    fn a_user_agent_tells_the_scope() {
        guessed("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)", SessionScope::Ios);
        guessed("Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X)", SessionScope::Ios);
        guessed("Perspective/1.2 CFNetwork/1494 Darwin/23.4.0", SessionScope::Ios);
        guessed("Mozilla/5.0 (Linux; Android 14; Pixel 8)", SessionScope::Android);
        guessed("okhttp/3.13.1", SessionScope::Android);
        guessed("Mozilla/5.0 (X11; Linux x86_64) Chrome/126", SessionScope::Browser);
        guessed("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", SessionScope::Browser);
        guessed("", SessionScope::Browser);
    }

    #[test]
    fn a_scope_is_read_in_any_letter_case_and_nothing_else_is() {
        for scope in SessionScope::ALL {
            assert_eq!(scope.as_str().to_uppercase().parse::<SessionScope>().ok(), Some(scope));
        }
        assert!("desktop".parse::<SessionScope>().is_err());
        assert!("".parse::<SessionScope>().is_err());
    }
}
