/// A filter on one text value: the whole value, case-sensitively, with `*` for any run of characters,
/// `?` for any one, and `\` to take the next character as it is (PROTOCOL 3.1).
///
/// ```
/// use headcount::session::Glob;
///
/// let filter = Glob::new("billy*");
/// assert!(filter.matches("billy") && filter.matches("billy.joe"));
/// assert!(!filter.matches("Billy") && !filter.matches("uncle billy"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Token {
    Exactly(char),
    AnyOne,
    AnyRun,
}

impl Glob {
    /// The longest pattern that a query may bring, in characters; every value it is held against is shorter.
    pub const MAX_CHARS: usize = 1024;

    /// Reads a pattern. Every string is one: a `\` at the very end stands for itself.
    pub fn new(pattern: &str) -> Self {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' => Token::AnyRun,
                '?' => Token::AnyOne,
                '\\' => Token::Exactly(chars.next().unwrap_or('\\')),
                c => Token::Exactly(c),
            };
            // Two runs in a row match what one does; folding them keeps a row of stars cheap.
            if token != Token::AnyRun || tokens.last() != Some(&Token::AnyRun) {
                tokens.push(token);
            }
        }
        Self(tokens)
    }

    /// The pattern that this value fits, and no other.
    pub fn literal(value: &str) -> Self {
        Self(value.chars().map(Token::Exactly).collect())
    }

    /// How every value begins that fits, and whether that is all of it.
    pub(super) fn prefix(&self) -> (String, bool) {
        let exact = |token: &Token| match token {
            Token::Exactly(c) => Some(*c),
            Token::AnyOne | Token::AnyRun => None,
        };
        let prefix: String = self.0.iter().map_while(exact).collect();
        let is_whole = self.0.iter().all(|token| exact(token).is_some());
        (prefix, is_whole)
    }

    /// How many steps each character of a value may take at the worst, besides one: only behind a run is anything tried
    /// again.
    pub(super) fn steps_again(&self) -> usize {
        self.0.iter().skip_while(|token| **token != Token::AnyRun).skip(1).count()
    }

    /// Whether the whole `value` fits.
    ///
    /// Takes at most pattern length times value length steps, whatever either holds: on a mismatch only the
    /// last run is widened, since widening an earlier one could not help.
    pub fn matches(&self, value: &str) -> bool {
        let tokens = &self.0;
        let mut rest = value.chars();
        let mut at = 0;
        let mut last_run = None;
        loop {
            let mut after_one = rest.clone();
            match (tokens.get(at), after_one.next()) {
                (Some(Token::AnyRun), _) => {
                    last_run = Some((at, rest.clone()));
                    at += 1;
                    continue;
                }
                (None, None) => return true,
                (Some(Token::AnyOne), Some(_)) => {}
                (Some(Token::Exactly(wanted)), Some(c)) if *wanted == c => {}
                _ => {
                    let Some((run, tried)) = &mut last_run else { return false };
                    if tried.next().is_none() {
                        return false;
                    }
                    rest = tried.clone();
                    at = *run + 1;
                    continue;
                }
            }
            rest = after_one;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
        let glob = Glob::new(pattern);
        for value in hits {
            assert!(glob.matches(value), "{pattern:?} should match {value:?}");
        }
        for value in misses {
            assert!(!glob.matches(value), "{pattern:?} should not match {value:?}");
        }
    }

    #[test]
    fn a_plain_filter_is_the_whole_value_case_sensitively() {
        check("billy", &["billy"], &["Billy", "billy ", "billyjoe", "a billy", "bill", ""]);
    }

    #[test]
    fn a_star_is_any_run_and_a_question_mark_any_one_character() {
        check("b*y", &["by", "billy", "b*y", "bzzzy"], &["b", "billyz", "ably"]);
        check("*", &["", "anything"], &[]);
        check("**a**", &["a", "bab"], &["", "b"]);
        check("b?lly", &["billy", "b☃lly"], &["blly", "biilly"]);
        check("??", &["é☃"], &["a", "abc"]);
        check("*ab*ab", &["abab", "xabxxabab"], &["ab", "ababx"]);
        check("a?*", &["ab", "abc"], &["a", ""]);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        check(r"a\*b", &["a*b"], &["axb", "ab"]);
        check(r"\?", &["?"], &["a"]);
        check(r"\\", &[r"\"], &[r"\\"]);
        check(r"\b", &["b"], &[r"\b"]);
        check(r"a\", &[r"a\"], &["a"]);
    }

    #[test]
    fn a_hostile_pattern_stays_cheap() {
        let value = "a".repeat(1000);
        assert!(!Glob::new(&"*a".repeat(512)).matches(&format!("{value}b")));
        assert!(Glob::new(&"*a".repeat(512)).matches(&value));
    }

    /// The definition, word for word; exponential, so only for short input.
    fn by_definition(pattern: &[char], value: &[char]) -> bool {
        match (pattern, value) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=value.len()).any(|n| by_definition(rest, &value[n..])),
            (['?', rest @ ..], [_, tail @ ..]) => by_definition(rest, tail),
            (['\\', c, rest @ ..], [v, tail @ ..]) => c == v && by_definition(rest, tail),
            ([c, rest @ ..], [v, tail @ ..]) => c == v && by_definition(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in r"[ab*?\\]{0,8}", value in r"[ab*?\\]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Glob::new(&pattern).matches(&value),
                by_definition(&chars(&pattern), &chars(&value))
            );
        }
    }
}
