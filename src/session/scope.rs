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

    /// Its place in [`ALL`](Self::ALL), for what is kept by scope.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Reads `browser=…,ios=…`: a value for some scopes, in the order of [`ALL`](Self::ALL). `form` is how the whole is
    /// written, for whoever wrote it otherwise.
    ///
    /// # Errors
    ///
    /// The part that is not of this form, that names no scope, or one that was there before; or what `read` makes of a
    /// value.
    pub fn read_each<T>(
        text: &str,
        form: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<[Option<T>; Self::ALL.len()], String> {
        let mut values = [const { None }; Self::ALL.len()];
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                format!("{:?} is not of the form scope=value: write it like {form}", part.trim())
            })?;
            let scope: Self =
                name.trim().parse().map_err(|error| format!("a scope {error}, not {:?}", name.trim()))?;
            if values[scope.index()].replace(read(value.trim())?).is_some() {
                return Err(format!("{text:?} names {scope} twice"));
            }
        }
        Ok(values)
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
    fn what_is_kept_by_scope_is_in_the_order_of_all() {
        for (at, scope) in SessionScope::ALL.into_iter().enumerate() {
            assert_eq!(scope.index(), at, "{scope}");
        }
    }

    #[test]
    fn values_by_scope_are_read_in_any_letter_case_and_each_scope_once() {
        let read = |text: &str| {
            SessionScope::read_each(text, "browser=1", |value| value.parse::<u8>().map_err(|e| e.to_string()))
        };
        assert_eq!(read("browser=1"), Ok([None, Some(1), None, None]));
        assert_eq!(read(" Designer = 2 ,IOS=3"), Ok([Some(2), None, Some(3), None]));
        for (bad, why) in [
            ("", "write it like browser=1"),
            ("browser", "\"browser\" is not of the form scope=value"),
            ("browser=1,", "is not of the form scope=value"),
            ("desktop=1", "a scope must be designer, browser, ios or android, not \"desktop\""),
            ("browser=1,Browser=2", "names browser twice"),
            ("browser=x", "invalid digit"),
        ] {
            let said = read(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
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
