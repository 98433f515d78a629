/// Takes the mask off a part of a payload (RFC 6455, 5.3), which must begin where the mask does; see [`turned`].
#[inline]
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Sixteen at a time, which the compiler makes whole vectors of.
    let wide = u128::from_ne_bytes([mask; 4].as_flattened().try_into().expect("sixteen bytes"));
    let (wides, rest) = payload.as_chunks_mut::<16>();
    for chunk in wides {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let narrow = u32::from_ne_bytes(mask);
    let (narrows, rest) = rest.as_chunks_mut::<4>();
    for chunk in narrows {
        *chunk = (u32::from_ne_bytes(*chunk) ^ narrow).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
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
}
