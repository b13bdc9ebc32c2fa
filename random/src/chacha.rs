//! The ChaCha20 block function (RFC 8439 section 2.3) on plain integer registers: the kernel is built without vector
//! registers, and the block function is all the generator needs.

/// A 256-bit key.
pub type Key = [u32; 8];
/// Output of one call.
pub type Block = [u8; 64];

fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

/// Key stream block number `counter` under `key` and `nonce`.
pub fn block(key: &Key, counter: u32, nonce: [u32; 3]) -> Block {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let [n0, n1, n2] = nonce;
    let start =
        [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, k0, k1, k2, k3, k4, k5, k6, k7, counter, n0, n1, n2];
    let mut s = start;
    for _ in 0..10 {
        quarter(&mut s, 0, 4, 8, 12);
        quarter(&mut s, 1, 5, 9, 13);
        quarter(&mut s, 2, 6, 10, 14);
        quarter(&mut s, 3, 7, 11, 15);
        quarter(&mut s, 0, 5, 10, 15);
        quarter(&mut s, 1, 6, 11, 12);
        quarter(&mut s, 2, 7, 8, 13);
        quarter(&mut s, 3, 4, 9, 14);
    }
    let mut out = [0; 64];
    for ((word, start), bytes) in s.iter().zip(start).zip(out.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    out
}

/// The key held in 32 bytes.
pub fn key_of(bytes: &[u8]) -> Key {
    let mut key = [0; 8];
    for (word, b) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_matches_rfc_8439() {
        let mut bytes = [0u8; 32];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = i as u8;
        }
        let out = block(&key_of(&bytes), 1, [0x0900_0000, 0x4a00_0000, 0]);
        let first = [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4];
        let last = [0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e];
        assert_eq!(out[..16], first);
        assert_eq!(out[48..], last);
    }
}
