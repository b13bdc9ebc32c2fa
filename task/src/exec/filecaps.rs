//! Capabilities of files: the `security.capability` attribute in its three versions (capabilities(7), "File capabilities" and "File capability extended
//! attribute versioning"). Pure: bytes in, sets out. Source: `linux/capability.h`.

use abi::Errno;
use alloc::vec::Vec;
use vfs::user_ns::IdKind;
use vfs::{CapSet, UserNamespace};

const V1: u32 = 0x0100_0000;
const V2: u32 = 0x0200_0000;
const V3: u32 = 0x0300_0000;
/// Bytes of each version.
const V1_SIZE: usize = 12;
const V2_SIZE: usize = 20;
const V3_SIZE: usize = 24;
const REVISION_MASK: u32 = 0xff00_0000;
const EFFECTIVE: u32 = 1;

/// What a file gives its runners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileCaps {
    /// Given within the bounding set.
    pub permitted: CapSet,
    /// Given to those who hold them as inheritable.
    pub inheritable: CapSet,
    /// All that is given comes into force at once.
    pub effective: bool,
    /// User 0 of the namespaces the attribute is meant for, as an id of the file system's namespace.
    pub root_id: u32,
}

impl FileCaps {
    /// Reads an attribute; EINVAL if it has no known form.
    pub fn parse(bytes: &[u8]) -> Result<FileCaps, Errno> {
        FileCaps::fields(bytes).ok_or(Errno::EINVAL)
    }
    fn fields(bytes: &[u8]) -> Option<FileCaps> {
        let word = |i: usize| Some(u32::from_le_bytes(*bytes.get(4 * i..)?.first_chunk()?));
        let magic = word(0)?;
        let pairs = match (magic & REVISION_MASK, bytes.len()) {
            (V1, V1_SIZE) => 1,
            (V2, V2_SIZE) | (V3, V3_SIZE) => 2,
            _ => return None,
        };
        let set = |first: usize| {
            let high = if pairs == 2 { word(first + 2)? } else { 0 };
            Some(CapSet((u64::from(high) << 32 | u64::from(word(first)?)) & CapSet::FULL.0))
        };
        Some(FileCaps {
            permitted: set(1)?,
            inheritable: set(2)?,
            effective: magic & EFFECTIVE != 0,
            root_id: if bytes.len() == V3_SIZE { word(5)? } else { 0 },
        })
    }
    /// They count for programs run in `ns`: the root they are meant for is that of `ns` or of one of its ancestors that gave the
    /// file system.
    pub fn count_in(&self, ns: &UserNamespace, fs: &UserNamespace) -> bool {
        let Some(root) = fs.kuid(self.root_id) else { return false };
        is_root_of(ns, root)
    }
}

/// `kuid` is user 0 of `ns` or of one of its ancestors.
fn is_root_of(ns: &UserNamespace, kuid: u32) -> bool {
    let mut at = ns;
    loop {
        if at.root_uid() == Some(kuid) {
            return true;
        }
        match at.parent() {
            Some(up) => at = up,
            None => return false,
        }
    }
}

/// The attribute as it is kept when a process in `ns` sets `bytes` on a file system of `fs`: what is set from a namespace below gets the id of
/// its root (version 3). `privileged`: the caller holds CAP_SETFCAP in `fs`.
pub fn to_store(bytes: &[u8], ns: &UserNamespace, fs: &UserNamespace, privileged: bool) -> Result<Vec<u8>, Errno> {
    let caps = current(bytes)?;
    if bytes.len() == V2_SIZE && privileged {
        return copy(bytes);
    }
    let root = ns.kuid(caps.root_id).ok_or(Errno::EINVAL)?;
    let stored = fs.up(IdKind::Uid, root).ok_or(Errno::EINVAL)?;
    encode_v3(bytes, stored)
}

/// The attribute as a process in `ns` sees `bytes` of a file on a file system of `fs`.
pub fn to_show(bytes: &[u8], ns: &UserNamespace, fs: &UserNamespace) -> Result<Vec<u8>, Errno> {
    let root = fs.kuid(current(bytes)?.root_id).ok_or(Errno::EOVERFLOW)?;
    if let Some(inside) = ns.up(IdKind::Uid, root).filter(|id| *id != 0) {
        return encode_v3(bytes, inside);
    }
    if !is_root_of(ns, root) {
        return Err(Errno::EOVERFLOW);
    }
    // What it means for a caller of this namespace, without the id.
    let mut out = copy(bytes.get(..V2_SIZE).unwrap_or(bytes))?;
    set_magic(&mut out, V2);
    Ok(out)
}

/// Reads an attribute of version 2 or 3: version 1 still counts at exec, but is neither set nor shown.
fn current(bytes: &[u8]) -> Result<FileCaps, Errno> {
    if bytes.len() < V2_SIZE { Err(Errno::EINVAL) } else { FileCaps::parse(bytes) }
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    out.try_reserve_exact(V3_SIZE).map_err(|_| Errno::ENOMEM)?;
    out.extend_from_slice(bytes);
    Ok(out)
}

fn set_magic(out: &mut [u8], version: u32) {
    if let Some(head) = out.first_chunk_mut::<4>() {
        *head = (version | u32::from_le_bytes(*head) & EFFECTIVE).to_le_bytes();
    }
}

fn encode_v3(bytes: &[u8], root_id: u32) -> Result<Vec<u8>, Errno> {
    let mut out = copy(bytes.get(..V2_SIZE).unwrap_or(bytes))?;
    set_magic(&mut out, V3);
    out.extend_from_slice(&root_id.to_le_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(magic: u32, words: &[u32]) -> Vec<u8> {
        core::iter::once(&magic).chain(words).flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn all_versions_are_read() {
        let v1 = FileCaps::parse(&attribute(V1 | EFFECTIVE, &[0x400, 1])).unwrap();
        assert_eq!((v1.permitted, v1.inheritable, v1.effective), (CapSet(0x400), CapSet(1), true));
        let v2 = FileCaps::parse(&attribute(V2, &[1, 2, 0x100, 3])).unwrap();
        assert_eq!(
            (v2.permitted, v2.inheritable, v2.effective),
            (CapSet(0x100_0000_0001), CapSet(0x3_0000_0002), false)
        );
        assert_eq!(FileCaps::parse(&attribute(V3, &[1, 0, 0, 0, 77])).unwrap().root_id, 77);
        for bad in [attribute(V2, &[1, 2]), attribute(0, &[1, 2]), attribute(V3, &[1, 2, 3, 4]), Vec::new()] {
            assert_eq!(FileCaps::parse(&bad), Err(Errno::EINVAL));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_attribute_is_refused_or_names_known_capabilities(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..28),
            version in proptest::sample::select(alloc::vec![V1, V2, V3, 0]),
        ) {
            let mut bytes = bytes;
            if let Some(magic) = bytes.first_chunk_mut::<4>() {
                *magic = version.to_le_bytes();
            }
            let first = UserNamespace::first();
            if let Ok(caps) = FileCaps::parse(&bytes) {
                assert_eq!((caps.permitted.0 | caps.inheritable.0) & !CapSet::FULL.0, 0);
            }
            // What is stored can be read and shown.
            if let Ok(stored) = to_store(&bytes, first, first, true) {
                assert!(FileCaps::parse(&stored).is_ok());
                let _ = to_show(&stored, first, first);
            }
        }
    }

    #[test]
    fn the_first_namespace_keeps_version_two() {
        let first = UserNamespace::first();
        let v2 = attribute(V2, &[1, 0, 0, 0]);
        assert_eq!(to_store(&v2, first, first, true).unwrap(), v2);
        assert_eq!(to_show(&v2, first, first).unwrap(), v2);
        let v3 = attribute(V3, &[1, 0, 0, 0, 1000]);
        assert_eq!(to_store(&v3, first, first, true).unwrap(), v3);
        assert_eq!(to_show(&v3, first, first).unwrap(), v3);
        assert!(!FileCaps::parse(&v3).unwrap().count_in(first, first));
        assert!(FileCaps::parse(&v2).unwrap().count_in(first, first));
    }
}
