use regex::{Regex, RegexBuilder};

use super::{Field, Invalid, Kind, MAX_SEARCH_CHARS, MAX_SEARCH_TERMS, Record};

/// Terms that must all occur in a record, each in some field that is a text, a list of texts or an address.
///
/// Terms are separated by whitespace, and found whatever the case of their letters (by Unicode's simple case
/// folding: `ZOË` is found in `Zoë`, but `ss` not in `ß`). A search without a term finds every record.
#[derive(Clone, Debug, Default)]
pub struct Search(Vec<Regex>);

impl Search {
    /// Reads the terms.
    ///
    /// # Errors
    ///
    /// More than [`MAX_SEARCH_TERMS`], or than [`MAX_SEARCH_CHARS`].
    pub fn read(text: &str) -> Result<Self, Invalid> {
        if text.chars().count() > MAX_SEARCH_CHARS {
            return Err(Invalid(format!("search has at most {MAX_SEARCH_CHARS} characters")));
        }
        if text.split_whitespace().count() > MAX_SEARCH_TERMS {
            return Err(Invalid(format!("search has at most {MAX_SEARCH_TERMS} terms")));
        }
        let term = |term| RegexBuilder::new(&regex::escape(term)).case_insensitive(true).build();
        let terms: Result<_, _> = text.split_whitespace().map(term).collect();
        terms.map(Self).map_err(|error| Invalid(format!("search cannot be read: {error}")))
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many microseconds it may take at the worst to look for it in a record, about: one with many long pages.
    pub fn worst_us(&self) -> usize {
        const TERM_US: usize = 20;
        self.0.len() * TERM_US
    }

    /// Whether every term occurs in the record.
    pub fn matches<R: Record>(&self, record: &R) -> bool {
        let is_text = |kind| matches!(kind, Kind::Text | Kind::Texts | Kind::Address);
        let fields = || R::Field::ALL.iter().filter(|(_, _, kind)| is_text(*kind));
        let occurs = |term: &Regex| {
            fields().any(|(field, _, _)| record.value(*field).any_text(&mut |text| term.is_match(text)))
        };
        self.0.iter().all(occurs)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Row, row},
        *,
    };

    #[test]
    fn every_term_must_occur_in_some_text() {
        let row = Row {
            name: Some("Zoë Ω".into()),
            pages: vec!["p.1".into(), "Alarms".into()],
            address: "10.0.0.7".parse().ok(),
            bytes: Some(4242),
            authorized: Some(true),
            ..row("D-1")
        };
        for found in ["", " \t", "zoë", "ZOË", "ω", "d-1", "alarm", "p.1 10.0.0.7 zo", "0.0\n7"] {
            assert!(Search::read(found).unwrap().matches(&row), "{found:?}");
        }
        for missed in ["billy", "zoë billy", "pX1", "p.1.*", "4242", "true", "zoe"] {
            assert!(!Search::read(missed).unwrap().matches(&row), "{missed:?}");
        }
        assert!(Search::read(" ").unwrap().is_empty() && Search::default().matches(&row));
    }

    #[test]
    fn a_search_has_limits() {
        let fails = |text: &str| Search::read(text).unwrap_err().to_string();
        assert!(Search::read(&"x ".repeat(16)).is_ok() && Search::read(&"\u{1f642}".repeat(256)).is_ok());
        assert_eq!(fails(&"x ".repeat(17)), "search has at most 16 terms");
        assert_eq!(fails(&"é".repeat(257)), "search has at most 256 characters");
    }
}
