use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

/// The head of a frame: what comes before its payload (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_final: bool,
    /// Any of the three; no extension gives them a meaning.
    pub(super) has_reserved_bits: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: u64,
}

impl Header {
    /// The longest: two bytes, a length of eight, and the mask.
    pub(super) const MAX_BYTES: usize = 14;

    /// Reads a header and its own length; `None` if more bytes must come first.
    ///
    /// A length may be written longer than it need be: RFC 6455 forbids it, and tungstenite bears it.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (payload_bytes, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let (mask, rest) = rest.split_first_chunk()?;
            (Some(*mask), rest)
        };
        let header = Self {
            is_final: first & 0x80 != 0,
            has_reserved_bits: first & 0x70 != 0,
            opcode: OpCode::from(first & 0x0f),
            mask,
            payload_bytes,
        };
        Some((header, bytes.len() - rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_tungstenite_reads_it(
            first: u8,
            second: u8,
            rest in proptest::collection::vec(any::<u8>(), 0..14),
        ) {
            let bytes = [&[first, second][..], &rest].concat();
            let ours = Header::parse(&bytes);
            let mut cursor = Cursor::new(&bytes);
            match FrameHeader::parse(&mut cursor) {
                Ok(None) => prop_assert_eq!(ours, None),
                Ok(Some((theirs, payload_bytes))) => {
                    let header = Header {
                        is_final: theirs.is_final,
                        has_reserved_bits: theirs.rsv1 | theirs.rsv2 | theirs.rsv3,
                        opcode: theirs.opcode,
                        mask: theirs.mask,
                        payload_bytes,
                    };
                    prop_assert_eq!(ours, Some((header, usize::try_from(cursor.position()).unwrap())));
                }
                // A reserved opcode; the reader refuses it.
                Err(_) => prop_assert!(matches!(first & 0x0f, 3..=7 | 11..=15) && ours.is_some()),
            }
        }
    }
}
