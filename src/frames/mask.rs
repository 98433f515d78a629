/// Takes the mask off a part of a payload (RFC 6455, 5.3), which must begin where the mask does; see [`turned`].
/// Answers whether what comes out is ASCII: that costs nothing while it is in a register, and a pass of its own later.
#[inline]
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) -> bool {
    // Eight at a time in the plainest loop, which the compiler makes vectors of.
    let wide = u64::from_ne_bytes([mask; 2].as_flattened().try_into().expect("eight bytes"));
    let (words, rest) = payload.as_chunks_mut::<8>();
    let mut seen = 0;
    for word in words {
        let plain = u64::from_ne_bytes(*word) ^ wide;
        seen |= plain;
        *word = plain.to_ne_bytes();
    }
    let mut seen_last = 0;
    for (byte, key) in rest.iter_mut().zip([mask; 2].as_flattened()) {
        *byte ^= key;
        seen_last |= *byte;
    }
    seen & 0x8080_8080_8080_8080 == 0 && seen_last < 0x80
}

/// The mask as it goes on after so many bytes.
#[inline]
pub(super) fn turned(mask: [u8; 4], bytes: usize) -> [u8; 4] {
    let mut mask = mask;
    mask.rotate_left(bytes % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_meets_its_own_byte_of_the_mask_however_the_payload_is_cut() {
        let mask = [1, 20, 50, 200];
        let plain: Vec<u8> = (0..=255).collect();
        let masked: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for cut in 0..=40 {
            for end in cut..=100 {
                let mut bytes = masked[..end].to_vec();
                let (first, second) = bytes.split_at_mut(cut);
                unmask(first, mask);
                unmask(second, turned(mask, cut));
                assert_eq!(bytes, plain[..end], "{cut} {end}");
            }
        }
    }

    #[test]
    fn one_byte_that_is_not_ascii_is_seen_wherever_it_is() {
        for bytes in 1..70 {
            assert!(unmask(&mut vec![0x7f ^ 0x80; bytes], [0x80; 4]), "{bytes}");
            for at in 0..bytes {
                let mut payload = vec![0x7f ^ 0x80; bytes];
                payload[at] = 0;
                assert!(!unmask(&mut payload, [0x80; 4]), "{at} of {bytes}");
            }
        }
    }
}
