//! Writing the maps of a user namespace: `/proc/PID/uid_map`, `gid_map`, `projid_map` and `setgroups` (user_namespaces(7), "Defining user and group ID
//! mappings: writing to uid_map and gid_map"). The checks come in Linux's order.

use crate::cred::{Cap, Cred};
use crate::idmap::{self, Extent, IdMap};
use crate::user_ns::{IdKind, UserNamespace};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Who writes a map file.
pub struct Writer<'a> {
    /// The credentials the file was opened with: what the map may contain depends on them.
    pub opener: &'a Cred,
    /// The writing process.
    pub cred: &'a Cred,
}

impl UserNamespace {
    /// Writes a map, which can be done once.
    pub fn write_map(self: &Arc<Self>, kind: IdKind, text: &[u8], by: &Writer<'_>) -> Result<(), Errno> {
        let parent = self.parent().ok_or(Errno::EPERM)?;
        let reader = &by.opener.user_ns;
        if reader != self && reader != parent {
            return Err(Errno::EPERM);
        }
        let _one = self.writer.lock();
        if self.map(kind).is_some() {
            return Err(Errno::EPERM);
        }
        if kind != IdKind::Projid && !by.opener.capable_in(self, Cap::SysAdmin) {
            return Err(Errno::EPERM);
        }
        let mut extents = idmap::parse(text)?;
        if !self.map_allowed(kind, &extents, parent, by) {
            return Err(Errno::EPERM);
        }
        for e in &mut extents {
            e.lower = range_down(parent, kind, e).ok_or(Errno::EPERM)?;
        }
        let map = IdMap::new(extents)?;
        self.slot(kind).set(map).map_err(|_| Errno::EPERM)
    }

    fn map_allowed(&self, kind: IdKind, new: &[Extent], parent: &Arc<UserNamespace>, by: &Writer<'_>) -> bool {
        if kind == IdKind::Uid && !self.may_map_root(new, parent, by) {
            return false;
        }
        // Whoever owns the namespace may call himself what he likes.
        if let [Extent { lower, count: 1, .. }] = new
            && by.opener.euid == self.owner_uid()
        {
            let mine = match kind {
                IdKind::Uid => by.opener.euid,
                IdKind::Gid if !self.setgroups_allowed() => by.opener.egid,
                _ => u32::MAX,
            };
            if mine != u32::MAX && parent.down(kind, *lower) == Some(mine) {
                return true;
            }
        }
        let needs = match kind {
            IdKind::Uid => Cap::Setuid,
            IdKind::Gid => Cap::Setgid,
            IdKind::Projid => return true,
        };
        by.cred.capable_in(parent, needs) && by.opener.capable_in(parent, needs)
    }

    /// Root of the parent could give files capabilities by way of the namespace: mapping it takes CAP_SETFCAP.
    fn may_map_root(&self, new: &[Extent], parent: &Arc<UserNamespace>, by: &Writer<'_>) -> bool {
        if !new.iter().any(|e| e.lower == 0) {
            return true;
        }
        if *by.opener.user_ns == *self { self.maker_had_setfcap() } else { by.opener.capable_in(parent, Cap::Setfcap) }
    }

    /// Writes the setgroups file: "deny" is final once a group map exists.
    pub fn write_setgroups(&self, text: &[u8]) -> Result<(), Errno> {
        let rest = text.strip_prefix(b"allow").map(|r| (true, r)).or(text.strip_prefix(b"deny").map(|r| (false, r)));
        let (allow, rest) = rest.ok_or(Errno::EINVAL)?;
        let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
        if !rest.iter().take_while(|b| **b != 0).all(is_space) {
            return Err(Errno::EINVAL);
        }
        let _one = self.writer.lock();
        if allow {
            return if self.setgroups_allowed() { Ok(()) } else { Err(Errno::EPERM) };
        }
        if self.map(IdKind::Gid).is_some() {
            return Err(Errno::EPERM);
        }
        self.deny_setgroups();
        Ok(())
    }

    /// The lines of a map as a reader in `reader` sees them: in his own namespace's ids, or the parent's if it is his own map.
    pub fn read_map(self: &Arc<Self>, kind: IdKind, reader: &Arc<UserNamespace>) -> Result<Vec<Extent>, Errno> {
        let eyes = if reader == self { self.parent().unwrap_or(self) } else { reader };
        let extents = self.map(kind).map(IdMap::extents).unwrap_or_default();
        let mut out = Vec::new();
        out.try_reserve_exact(extents.len()).map_err(|_| Errno::ENOMEM)?;
        let shown = |e: &Extent| Extent { lower: eyes.up(kind, e.lower).unwrap_or(u32::MAX), ..*e };
        out.extend(extents.iter().map(shown));
        Ok(out)
    }
}

/// The kernel ids of a run of the parent's ids, if they are one run too.
fn range_down(parent: &UserNamespace, kind: IdKind, e: &Extent) -> Option<u32> {
    if parent.is_first() { Some(e.lower) } else { parent.map(kind)?.down_range(e.lower, e.count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_ns::create;

    fn child(of: &Cred) -> Cred {
        create(of, false, 9).unwrap()
    }

    #[test]
    fn an_ordinary_user_maps_himself_only() {
        let user = Cred::user(1000, 1000);
        let inside = child(&user);
        let ns = &inside.user_ns;
        let by = Writer { opener: &inside, cred: &inside };
        let write = |kind, text: &str| ns.write_map(kind, text.as_bytes(), &by);
        assert_eq!(write(IdKind::Uid, "0 1001 1"), Err(Errno::EPERM));
        assert_eq!(write(IdKind::Uid, "0 1000 2"), Err(Errno::EPERM));
        assert_eq!(write(IdKind::Uid, "0 1000 1"), Ok(()));
        assert_eq!(write(IdKind::Uid, "0 1000 1"), Err(Errno::EPERM));
        assert_eq!(write(IdKind::Gid, "0 1000 1"), Err(Errno::EPERM));
        assert_eq!(ns.write_setgroups(b"deny"), Ok(()));
        assert_eq!(ns.write_setgroups(b"allow"), Err(Errno::EPERM));
        assert_eq!(write(IdKind::Gid, "0 1000 1"), Ok(()));
        assert_eq!(ns.write_setgroups(b"deny"), Err(Errno::EPERM));
        assert_eq!((ns.show_uid(1000), ns.show_uid(0), ns.kuid(0), ns.kuid(1)), (0, 65534, Some(1000), None));
        assert!(!ns.may_setgroups());
    }

    #[test]
    fn root_maps_what_it_likes_and_only_what_the_parent_has() {
        let root = Cred::root();
        let a = child(&root);
        let text = "0 100000 65536";
        assert_eq!(a.user_ns.write_map(IdKind::Uid, text.as_bytes(), &Writer { opener: &root, cred: &root }), Ok(()));
        a.user_ns.write_map(IdKind::Gid, text.as_bytes(), &Writer { opener: &root, cred: &root }).unwrap();
        let inner_root = Cred { euid: 100_000, egid: 100_000, ..a.clone() };
        let b = child(&inner_root);
        let by = Writer { opener: &inner_root, cred: &inner_root };
        assert_eq!(b.user_ns.write_map(IdKind::Uid, b"0 65536 1", &by), Err(Errno::EPERM));
        assert_eq!(b.user_ns.write_map(IdKind::Uid, b"5 1000 10", &by), Ok(()));
        assert_eq!(b.user_ns.kuid(5), Some(101_000));
        assert_eq!(b.user_ns.read_map(IdKind::Uid, &a.user_ns).unwrap()[0].lower, 1000);
        assert_eq!(b.user_ns.read_map(IdKind::Uid, &b.user_ns).unwrap()[0].lower, 1000);
        assert_eq!(b.user_ns.read_map(IdKind::Uid, UserNamespace::first()).unwrap()[0].lower, 101_000);
    }

    #[test]
    fn nobody_makes_more_namespaces_than_he_may() {
        let user = Cred::user(77, 77);
        let mut inside = child(&user);
        inside.user_ns.write_map(IdKind::Uid, b"0 77 1", &Writer { opener: &inside, cred: &inside }).unwrap();
        inside.user_ns.write_setgroups(b"deny").unwrap();
        inside.user_ns.write_map(IdKind::Gid, b"0 77 1", &Writer { opener: &inside, cred: &inside }).unwrap();
        inside.user_ns.set_max_made(2).unwrap();
        let first = child(&inside);
        let _second = child(&inside);
        assert_eq!(create(&inside, false, 9).unwrap_err(), Errno::ENOSPC);
        drop(first);
        let third = child(&inside);
        assert_eq!(create(&inside, true, 9).unwrap_err(), Errno::ENOSPC);
        drop(third);
        assert_eq!(create(&inside, true, 9).unwrap_err(), Errno::EPERM);
        inside.euid = 5;
        assert_eq!(create(&inside, false, 9).unwrap_err(), Errno::EPERM);
    }

    #[test]
    fn capabilities_reach_down_not_up() {
        let user = Cred::user(1000, 1000);
        let inside = child(&user);
        assert!(inside.capable_here(Cap::SysAdmin) && !inside.capable(Cap::SysAdmin));
        assert!(!inside.capable_in(UserNamespace::first(), Cap::Chown));
        assert!(user.capable_in(&inside.user_ns, Cap::Kill), "the owner, in the parent");
        assert!(!Cred::user(1001, 1).capable_in(&inside.user_ns, Cap::Kill));
        assert!(Cred::root().capable_in(&inside.user_ns, Cap::Kill));
        assert_eq!(create(&inside, false, 9).unwrap_err(), Errno::EPERM, "no names yet");
        assert!(inside.user_ns.is_in(UserNamespace::first()) && !UserNamespace::first().is_in(&inside.user_ns));
    }
}
