//! Names: splitting paths into components, hashing and comparing them, a word at a time.

use core::sync::atomic::Ordering;
use smallvec::SmallVec;

/// A component; most are short enough to lie inside the dentry.
pub type Name = SmallVec<[u8; 24]>;

static HASH_SEED: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0x9e37_79b9_7f4a_7c15);

/// Mixes boot-time randomness into the hash of names, so that nobody can prepare colliding ones.
pub fn seed_names(seed: u64) {
    HASH_SEED.store(seed | 1, Ordering::Relaxed);
}

const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

#[inline]
fn mix(h: u64, word: u64) -> u64 {
    (h ^ word).wrapping_mul(MULTIPLIER).rotate_left(23)
}

#[inline]
fn finish(h: u64, len: usize) -> u64 {
    let h = (h ^ len as u64).wrapping_mul(MULTIPLIER);
    h ^ h >> 32
}

/// Equality of names without a call: whole words, the last one overlapping.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(x), Some(y)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        let words = |s: &[u8]| -> u64 { s.first_chunk().map_or(0, |c| u64::from_le_bytes(*c)) };
        return x == y && a.chunks_exact(8).zip(b.chunks_exact(8)).all(|(p, q)| words(p) == words(q));
    }
    if let (Some(x), Some(y)) = (a.last_chunk::<4>(), b.last_chunk::<4>()) {
        return x == y && a.first_chunk::<4>() == b.first_chunk::<4>();
    }
    match (a, b) {
        ([a0, ar @ ..], [b0, br @ ..]) => a0 == b0 && ar.iter().eq(br),
        _ => true,
    }
}

/// Hash of a component.
pub fn hash_name(name: &[u8]) -> u64 {
    first_component(name, 0).1
}

/// Finds the end of the component of `path` that starts at `from`, a word at a time, hashing it on the way. Returns its length.
#[inline]
pub(crate) fn first_component(path: &[u8], from: usize) -> (usize, u64) {
    const SLASHES: u64 = 0x2f2f_2f2f_2f2f_2f2f;
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut h = HASH_SEED.load(Ordering::Relaxed);
    let mut at = from;
    loop {
        let rest = path.get(at..).unwrap_or_default();
        // The bytes that are left, at most eight, in the low end of a word.
        let (word, valid) = match rest.first_chunk::<8>() {
            Some(chunk) => (u64::from_le_bytes(*chunk), 8),
            None if rest.is_empty() => return (at - from, finish(mix(h, 0), at - from)),
            None => match path.last_chunk::<8>() {
                Some(chunk) => (u64::from_le_bytes(*chunk) >> (64 - 8 * rest.len()), rest.len()),
                None => (rest.iter().rev().fold(0, |w, &b| w << 8 | b as u64), rest.len()),
            },
        };
        let x = word ^ SLASHES;
        let hit = x.wrapping_sub(LOW) & !x & HIGH;
        let end = if hit != 0 { (hit.trailing_zeros() / 8) as usize } else { 8 }.min(valid);
        if end < 8 {
            let keep = word & !(u64::MAX << (8 * end));
            let len = at + end - from;
            return (len, finish(mix(h, keep), len));
        }
        h = mix(h, word);
        at += 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_component_ends_at_the_slash_and_hashes_like_the_bare_name() {
        for name in ["a", "usr", "sevenby", "eightbyt", "ninebytes", "a-name-of-exactly-24-byte", ""] {
            let (len, hash) = first_component(name.as_bytes(), 0);
            assert_eq!(len, name.len());
            for rest in ["/", "/x", "/lib/x86_64-linux-gnu", "//"] {
                let path = alloc::format!("{name}{rest}");
                assert_eq!(first_component(path.as_bytes(), 0), (len, hash), "{path}");
                let below = alloc::format!("d/{path}");
                assert_eq!(first_component(below.as_bytes(), 2), (len, hash), "{below}");
            }
        }
        assert_ne!(hash_name(b"ab"), hash_name(b"ba"));
        assert_ne!(hash_name(b"a"), hash_name(b"a\0"));
    }

    #[test]
    fn names_are_compared_to_the_last_byte() {
        for len in 0..40 {
            let a: Vec<u8> = (0..len).collect();
            assert!(same(&a, &a.clone()));
            assert!(!same(&a, &[&a[..], b"x"].concat()));
            for i in 0..a.len() {
                let mut b = a.clone();
                b[i] ^= 0x80;
                assert!(!same(&a, &b), "{len} {i}");
            }
        }
    }
}
