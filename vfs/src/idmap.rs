//! The id maps of user namespaces: which ids inside stand for which ids of the kernel (user_namespaces(7), "User and group ID mappings").
//!
//! A map is written once and never changes, so lookups take no lock. Up to five extents keep the order they were written in and are
//! searched one after the other; larger maps are sorted both ways and searched by halves.

use abi::Errno;
use alloc::vec::Vec;

/// Most extents of one map.
pub const MAX_EXTENTS: usize = 340;
/// Maps up to this size keep the order of their lines.
const UNSORTED: usize = 5;

/// `count` ids from `first` inside stand for as many from `lower` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// First id inside the namespace.
    pub first: u32,
    /// First id it stands for.
    pub lower: u32,
    /// How many.
    pub count: u32,
}

/// One map of one namespace.
#[derive(Debug, Default)]
pub struct IdMap {
    forward: Vec<Extent>,
    /// Sorted by `lower`; empty for small maps.
    reverse: Vec<Extent>,
}

/// The id that lies as far behind `to` as `id` behind `from`.
fn shift(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let by = id.checked_sub(from)?;
    if by < count { to.checked_add(by) } else { None }
}

fn find(list: &[Extent], key: impl Fn(&Extent) -> u32, id: u32) -> Option<&Extent> {
    let after = list.partition_point(|e| key(e) <= id);
    list.get(after.checked_sub(1)?)
}

impl IdMap {
    /// The map of the first namespace: every id is itself, but for the one that means "none".
    pub fn identity() -> IdMap {
        IdMap { forward: alloc::vec![Extent { first: 0, lower: 0, count: u32::MAX }], reverse: Vec::new() }
    }
    /// A map of these extents, whose `lower` ids are already kernel ids.
    pub fn new(mut extents: Vec<Extent>) -> Result<IdMap, Errno> {
        let mut reverse = Vec::new();
        if extents.len() > UNSORTED {
            extents.sort_unstable_by_key(|e| e.first);
            reverse.try_reserve_exact(extents.len()).map_err(|_| Errno::ENOMEM)?;
            reverse.extend_from_slice(&extents);
            reverse.sort_unstable_by_key(|e| e.lower);
        }
        Ok(IdMap { forward: extents, reverse })
    }
    /// The extents as /proc shows them.
    pub fn extents(&self) -> &[Extent] {
        &self.forward
    }
    /// The kernel id of an id inside.
    pub fn down(&self, id: u32) -> Option<u32> {
        if self.reverse.is_empty() {
            return self.forward.iter().find_map(|e| shift(id, e.first, e.lower, e.count));
        }
        let e = find(&self.forward, |e| e.first, id)?;
        shift(id, e.first, e.lower, e.count)
    }
    /// The id inside of a kernel id.
    pub fn up(&self, id: u32) -> Option<u32> {
        if self.reverse.is_empty() {
            return self.forward.iter().find_map(|e| shift(id, e.lower, e.first, e.count));
        }
        let e = find(&self.reverse, |e| e.lower, id)?;
        shift(id, e.lower, e.first, e.count)
    }
    /// The kernel id of the first of `count` ids that are mapped as one run.
    pub fn down_range(&self, first: u32, count: u32) -> Option<u32> {
        let last = first.checked_add(count.checked_sub(1)?)?;
        let covers = |e: &&Extent| shift(last, e.first, e.lower, e.count).is_some();
        let e = self.forward.iter().filter(|e| first >= e.first).find(covers)?;
        shift(first, e.first, e.lower, e.count)
    }
}

/// Reads the text written to a map file: lines of three numbers, without overlaps. EINVAL for anything else.
pub fn parse(text: &[u8]) -> Result<Vec<Extent>, Errno> {
    let mut all: Vec<Extent> = Vec::new();
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|b| *b == b'\n') {
        let e = parse_line(line).ok_or(Errno::EINVAL)?;
        if all.len() == MAX_EXTENTS || all.iter().any(|other| overlap(&e, other)) {
            return Err(Errno::EINVAL);
        }
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(e);
    }
    Ok(all)
}

fn parse_line(line: &[u8]) -> Option<Extent> {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r');
    let mut words = line.split(is_space).filter(|w| !w.is_empty());
    let mut number = || parse_number(words.next()?);
    let (first, lower, count) = (number()?, number()?, number()?);
    let empty = first == u32::MAX || lower == u32::MAX || count == 0;
    if words.next().is_some() || empty || first.checked_add(count).is_none() || lower.checked_add(count).is_none() {
        return None;
    }
    Some(Extent { first, lower, count })
}

/// A decimal number; its excess over 32 bits is lost, as on Linux.
fn parse_number(word: &[u8]) -> Option<u32> {
    let digit = |n: u64, b: &u8| Some(n.wrapping_mul(10).wrapping_add(u64::from((*b as char).to_digit(10)?)));
    word.iter().try_fold(0, digit).map(|n| n as u32)
}

fn overlap(a: &Extent, b: &Extent) -> bool {
    let meet = |x: u32, y: u32| x <= y + (b.count - 1) && y <= x + (a.count - 1);
    meet(a.first, b.first) || meet(a.lower, b.lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(text: &str) -> IdMap {
        IdMap::new(parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn ids_go_both_ways() {
        let m = map("0 1000 1\n1 100000 65536\n");
        assert_eq!(
            (m.down(0), m.down(1), m.down(65536), m.down(65537)),
            (Some(1000), Some(100000), Some(165535), None)
        );
        assert_eq!((m.up(1000), m.up(100001), m.up(0), m.up(165536)), (Some(0), Some(2), None, None));
        assert_eq!((m.down_range(1, 65536), m.down_range(0, 2), m.down_range(1, 65537)), (Some(100000), None, None));
        let id = IdMap::identity();
        assert_eq!((id.down(7), id.up(u32::MAX - 1), id.up(u32::MAX)), (Some(7), Some(u32::MAX - 1), None));
    }

    #[test]
    fn many_extents_are_searched_by_halves() {
        let lines: Vec<alloc::string::String> =
            (0..340u32).rev().map(|i| alloc::format!("{} {} 2", i * 4, 1_000_000 - i * 4)).collect();
        let m = map(&lines.join("\n"));
        for i in 0..340 {
            assert_eq!(m.down(i * 4 + 1), Some(1_000_001 - i * 4));
            assert_eq!(m.up(1_000_001 - i * 4), Some(i * 4 + 1));
            assert_eq!((m.down(i * 4 + 2), m.up(1_000_002 - i * 4)), (None, None));
        }
    }

    #[test]
    fn bad_maps_are_refused() {
        for bad in
            ["", "0 0", "0 0 0", "0 0 1 x", "0 0 1 2", "4294967295 0 1", "0 0 4294967295\n0 5 1", "0 0 1\n\n1 1 1"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"0 10 5\n5 14 1").is_err());
        assert!(parse(b"1 0 4294967295").is_err());
        assert!(parse(b"0x10 0 3").is_err());
        assert_eq!(parse(b"010 8 3").unwrap(), [Extent { first: 10, lower: 8, count: 3 }]);
        assert_eq!(parse(b" 0\t0  4294967295 \n").unwrap().len(), 1);
    }

    /// Lines of numbers from all over the range, some of them close together.
    fn some_lines() -> impl Strategy<Value = Vec<(u32, u32, u32)>> {
        let number = || prop_oneof![0u32..40, any::<u32>(), u32::MAX - 40..=u32::MAX];
        proptest::collection::vec((number(), number(), prop_oneof![0u32..6, any::<u32>()]), 0..9)
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_map_or_not(text in proptest::collection::vec(proptest::sample::select(b"0129 \t\n\x0b\0x-\xff".to_vec()), 0..60)) {
            match parse(&text) {
                Ok(extents) => prop_assert!(!extents.is_empty() && extents.iter().all(|e| e.count > 0)),
                Err(e) => prop_assert_eq!(e, Errno::EINVAL),
            }
        }

        #[test]
        fn accepted_maps_are_one_to_one(lines in some_lines()) {
            let text: alloc::string::String = lines.iter().map(|(a, b, c)| alloc::format!("{a} {b} {c}\n")).collect();
            let Ok(extents) = parse(text.as_bytes()) else { return Ok(()) };
            prop_assert_eq!(extents.len(), lines.len());
            let map = IdMap::new(extents.clone()).unwrap();
            for e in &extents {
                for by in [0, e.count / 2, e.count - 1] {
                    prop_assert_eq!(map.down(e.first + by), Some(e.lower + by));
                    prop_assert_eq!(map.up(e.lower + by), Some(e.first + by));
                }
                prop_assert_eq!(map.down_range(e.first, e.count), Some(e.lower));
            }
            prop_assert_eq!((map.down(u32::MAX), map.up(u32::MAX)), (None, None));
        }
    }
}
