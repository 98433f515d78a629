//! Text that a client said of itself, made harmless at the edge (PROTOCOL 2.3, "Hostile text").

use std::borrow::Cow;

/// How many characters of a `User-Agent` are kept.
pub const MAX_USER_AGENT_CHARS: usize = 512;

/// How many characters a project has at the most.
pub const MAX_PROJECT_CHARS: usize = 128;

/// Why no project can have this name, if none can. A project is refused where other text is cleaned: cleaning could make
/// two projects one.
pub fn project_problem(name: &str) -> Option<String> {
    let problem = match name.chars().count() {
        0 => "is empty".to_owned(),
        n if n > MAX_PROJECT_CHARS => format!("has {n} characters"),
        _ if has_hostile(name) => "has a control character".to_owned(),
        _ if name.contains('/') => "has a /".to_owned(),
        _ => return None,
    };
    Some(format!("{problem}: it has 1 to {MAX_PROJECT_CHARS} characters, no control characters and no /"))
}

/// Takes out what could act on a reader's screen: C0, DEL and C1 control characters and the controls that
/// turn the direction of writing.
///
/// What is left is still only a claim, and is escaped again wherever it is shown.
pub fn clean(raw: &str) -> Cow<'_, str> {
    if has_hostile(raw) { Cow::Owned(raw.replace(is_hostile, "")) } else { Cow::Borrowed(raw) }
}

/// Whether [`clean`] takes something out of it.
pub fn has_hostile(text: &str) -> bool {
    // Nearly all text is ASCII. To the end, without a way out of the loop: the compiler makes vector instructions of that.
    let is_printable = text.bytes().fold(true, |so_far, byte| so_far & (b' '..0x7f).contains(&byte));
    !is_printable && text.contains(is_hostile)
}

/// Whether [`clean`] takes this character out.
pub fn is_hostile(c: char) -> bool {
    // `is_control` is C0, DEL and C1; the rest are the bidirectional formatting characters of UAX #9.
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The text as a cell of a spreadsheet, which must not take it for a formula: cleaned, and after an apostrophe if it
/// begins as formulas do.
pub fn spreadsheet_safe(text: &str) -> Cow<'_, str> {
    let cleaned = clean(text);
    if cleaned.starts_with(['=', '+', '-', '@']) { Cow::Owned(format!("'{cleaned}")) } else { cleaned }
}

/// The `User-Agent` as it is kept: cleaned, at most [`MAX_USER_AGENT_CHARS`], bytes that are no UTF-8 shown
/// as U+FFFD.
pub fn user_agent(raw: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(raw);
    let cleaned = clean(&lossy);
    // Whoever has no more bytes has no more characters.
    if cleaned.len() <= MAX_USER_AGENT_CHARS {
        return cleaned.into_owned();
    }
    let end = cleaned.char_indices().nth(MAX_USER_AGENT_CHARS).map_or(cleaned.len(), |(at, _)| at);
    cleaned[..end].to_owned()
}

/// An error of the reader of JSON without where it was: it counts from the beginning of a part that nobody sees.
pub fn without_place(said: &str) -> &str {
    let is_place = |place: &str| {
        let numbers = place.split_once(" column ");
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        numbers.is_some_and(|(line, column)| is_number(line) && is_number(column))
    };
    match said.rsplit_once(" at line ") {
        Some((said, place)) if is_place(place) => said,
        _ => said,
    }
}

/// What was sent, as an error may repeat it: short, and quoted so that it acts on no screen.
pub fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    format!("{:?}", text.chars().take(MAX_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_of_the_screen_and_of_direction_are_taken_out() {
        assert_eq!(clean("bil\x1b[31mly\r\n\x07\x7f\u{9b}"), "bil[31mly");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{200f}d\u{061c}e"), "abcde");
        assert_eq!(clean("Zoë ☃ 🙂"), "Zoë ☃ 🙂");
        for c in (0..=0x2100).filter_map(char::from_u32) {
            assert_eq!(has_hostile(&format!("a{c}b")), is_hostile(c), "{c:?}");
        }
    }

    #[test]
    fn a_user_agent_is_cut_by_characters_and_never_fails() {
        assert_eq!(user_agent(&[b'a', 0xff, b'b']), "a\u{fffd}b");
        assert_eq!(user_agent("é".repeat(600).as_bytes()), "é".repeat(512));
    }

    #[test]
    fn only_a_place_is_cut_off() {
        assert_eq!(without_place("number out of range at line 1 column 6"), "number out of range");
        for said in ["at the table", "user at line b column 3", "x at line 1 column "] {
            assert_eq!(without_place(said), said);
        }
    }
}
