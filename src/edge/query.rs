use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// The parameters of a request's query that are known, decoded: each name once, its value strict UTF-8.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

/// What to do with a name that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It belongs to the application, unless it is one of ours in the wrong letter case.
    Ignore,
    /// It is an error.
    Refuse,
}

impl Query {
    /// Decodes `a=b&c=d` (`+` is a space, as browsers write forms).
    ///
    /// # Errors
    ///
    /// 400, naming the parameter that is no UTF-8, is given twice, or is unknown.
    pub(crate) fn parse(
        query: Option<&str>,
        known: &[&'static str],
        unknown: Unknown,
    ) -> Result<Self, Refusal> {
        let mut found = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A name that is no text is none of ours.
            let name = decode(name).unwrap_or_else(|| "\u{fffd}".to_owned());
            let Some(name) = known.iter().find(|known| **known == name) else {
                refuse_unknown(&name, known, unknown)?;
                continue;
            };
            let Some(value) = decode(value) else {
                return Err(Refusal::bad_parameter(format!("{name} is not valid UTF-8")));
            };
            if found.iter().any(|(known, _)| known == name) {
                return Err(Refusal::bad_parameter(format!("{name} is given twice")));
            }
            found.push((*name, value));
        }
        Ok(Self(found))
    }

    /// Every parameter, decoded, in the order given.
    ///
    /// # Errors
    ///
    /// 400, naming the parameter that is no UTF-8.
    pub(crate) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Refusal> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).unwrap_or_else(|| "\u{fffd}".to_owned());
            match decode(value) {
                Some(value) => Ok((name, value)),
                None => {
                    let shown: String = name.chars().take(64).collect();
                    Err(Refusal::bad_parameter(format!("{shown} is not valid UTF-8")))
                }
            }
        };
        pairs.map(read).collect()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn refuse_unknown(name: &str, known: &[&str], unknown: Unknown) -> Result<(), Refusal> {
    let shown: String = name.chars().take(64).collect();
    if let Some(meant) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        let message = format!("unknown parameter {shown:?}: it is written {meant}");
        return Err(Refusal::bad_parameter(message));
    }
    match unknown {
        Unknown::Ignore => Ok(()),
        Unknown::Refuse => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("unknown parameter {shown:?}; known: {known}");
            Err(Refusal::bad_parameter(message))
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["pageId", "username"];

    #[track_caller]
    fn check(query: &str, unknown: Unknown, expected: Result<&str, &str>) {
        let found = Query::parse(Some(query), &KNOWN, unknown)
            .map(|mut query| query.take("username").unwrap_or_default())
            .map_err(|refusal| refusal.message);
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{query}");
    }

    #[test]
    fn a_query_is_decoded_as_a_form() {
        use Unknown::{Ignore, Refuse};
        check("username=billy", Refuse, Ok("billy"));
        check("username=Zo%C3%AB+%2B", Refuse, Ok("Zoë +"));
        check("&&username=a=b&", Refuse, Ok("a=b"));
        check("username", Refuse, Ok(""));
        check("v=2&username=billy&%ff=1", Ignore, Ok("billy"));
        check("v=2", Refuse, Err("unknown parameter \"v\"; known: pageId, username"));
        check("pageid=2", Ignore, Err("unknown parameter \"pageid\": it is written pageId"));
        check("username=%ff", Ignore, Err("username is not valid UTF-8"));
        check("username=a&username=a", Ignore, Err("username is given twice"));
    }
}
