use simdutf8::{basic, compat};

/// Whether a text that comes in pieces, cut anywhere, is UTF-8 so far: it keeps a character that is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Utf8 {
    begun: [u8; 3],
    begun_bytes: u8,
}

/// Whether a text that is all there is UTF-8.
pub(super) fn is_utf8(text: &[u8]) -> bool {
    basic::from_utf8(text).is_ok()
}

impl Utf8 {
    /// Takes the next piece; `false` if no UTF-8 goes on like this.
    pub(super) fn goes_on(&mut self, piece: &[u8]) -> bool {
        let Some(piece) = self.finish_character(piece) else { return false };
        match compat::from_utf8(piece) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let rest = &piece[error.valid_up_to()..];
                self.begun[..rest.len()].copy_from_slice(rest);
                self.begun_bytes = u8::try_from(rest.len()).expect("three at the most");
                true
            }
        }
    }

    /// Whether the text may end here.
    pub(super) fn is_whole(self) -> bool {
        self.begun_bytes == 0
    }

    /// Goes on with the character that the last piece cut; answers what comes after it.
    fn finish_character<'a>(&mut self, mut piece: &'a [u8]) -> Option<&'a [u8]> {
        while self.begun_bytes > 0
            && let [byte, rest @ ..] = piece
        {
            let begun = usize::from(self.begun_bytes);
            let mut character = [0; 4];
            character[..begun].copy_from_slice(&self.begun[..begun]);
            character[begun] = *byte;
            match str::from_utf8(&character[..=begun]) {
                Ok(_) => self.begun_bytes = 0,
                Err(error) if error.error_len().is_some() => return None,
                Err(_) => {
                    self.begun[begun] = *byte;
                    self.begun_bytes += 1;
                }
            }
            piece = rest;
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_utf8<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut text = Utf8::default();
        pieces.into_iter().all(|piece| text.goes_on(piece)) && text.is_whole()
    }

    #[test]
    fn every_character_may_be_cut_anywhere() {
        let text = "aé☃😀\u{10ffff}\u{7ff}\u{800}\u{ffff}".as_bytes();
        for size in 1..text.len() {
            assert!(is_utf8(text.chunks(size)), "{size}");
        }
    }

    #[test]
    fn what_is_wrong_is_known_with_its_first_wrong_byte() {
        for wrong in
            [&b"\x80"[..], b"\xc0", b"\xf5", b"\xe2\x28", b"\xed\xa0", b"\xf4\x90", b"\xe0\x9f", b"\xf0\x8f"]
        {
            for size in 1..=wrong.len() {
                let mut text = Utf8::default();
                let goes_on: Vec<_> = wrong.chunks(size).map(|piece| text.goes_on(piece)).collect();
                assert_eq!(goes_on.last(), Some(&false), "{wrong:?} by {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(
            mut bytes in any::<String>().prop_map(String::into_bytes),
            damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
            size in 1_usize..20,
        ) {
            if let Some((at, byte)) = damage && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(is_utf8(bytes.chunks(size)), str::from_utf8(&bytes).is_ok());
        }
    }
}
