//! Ids and keys of one kind of System V object.
//!
//! An id is `sequence << 15 | index`. Indices are handed out in turn, so that an id that was removed does not come back soon; the sequence
//! number grows whenever the search starts over. `next_id` (kernel.shm_next_id and its like) asks for one id once.

use crate::perm::{Perm, Who};
use abi::Errno;
use abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IpcPerm};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::{SpinGuard, SpinLock};
use vfs::user_ns::UserNamespace;

/// Bits of the index in an id.
const SHIFT: u32 = 15;
/// Objects of a kind there can be.
pub const MAX: usize = 1 << SHIFT;
/// Sequence numbers there are.
const SEQUENCES: u32 = i32::MAX as u32 >> SHIFT;
/// Indices that are gone through at least before one comes back.
const CYCLE: usize = 64;

/// What the lock of an object protects.
pub struct State<S> {
    /// Owner and mode.
    pub perm: Perm,
    /// It has been removed; nothing may be done with it any more.
    pub removed: bool,
    key: i32,
    /// The rest depends on the kind.
    pub body: S,
}

/// One object.
pub struct Entry<S> {
    id: i32,
    state: SpinLock<State<S>>,
}

impl<S> Entry<S> {
    /// Its id.
    pub fn id(&self) -> i32 {
        self.id
    }
    /// Locks it, removed or not.
    pub fn lock(&self) -> SpinGuard<'_, State<S>> {
        self.state.lock()
    }
    /// Locks it; EIDRM when it has been removed.
    pub fn live(&self) -> Result<SpinGuard<'_, State<S>>, Errno> {
        let state = self.state.lock();
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }
    /// Locks it to change or remove it: EPERM, then EIDRM.
    pub fn controlled(&self, who: Who<'_>) -> Result<SpinGuard<'_, State<S>>, Errno> {
        let state = self.state.lock();
        state.perm.check_control(who)?;
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }
    /// Owner and mode as programs in the user namespace `ns` see them.
    pub fn show_perm(&self, state: &State<S>, ns: &UserNamespace) -> IpcPerm {
        state.perm.show(ns, state.key, (self.id >> SHIFT) as u16)
    }
}

impl<S> State<S> {
    /// The key, IPC_PRIVATE for none.
    pub fn key(&self) -> i32 {
        self.key
    }
}

struct Table<S> {
    slots: Vec<Option<Arc<Entry<S>>>>,
    keys: BTreeMap<i32, Arc<Entry<S>>>,
    used: usize,
    seq: u32,
    last: Option<usize>,
    next_id: i32,
}

/// All objects of a kind.
pub struct Ids<S> {
    table: SpinLock<Table<S>>,
}

impl<S> Default for Ids<S> {
    fn default() -> Self {
        Ids::new()
    }
}

impl<S> Ids<S> {
    /// No objects.
    pub const fn new() -> Ids<S> {
        let table = Table { slots: Vec::new(), keys: BTreeMap::new(), used: 0, seq: 0, last: None, next_id: -1 };
        Ids { table: SpinLock::new(table) }
    }
    /// shmget, semget, msgget: finds the object of `key` or makes it. `fits` looks at one that is there, `make` gives the body of a new one,
    /// `max` is how many there may be.
    pub fn get(
        &self,
        (key, flags): (i32, u32),
        who: Who<'_>,
        max: usize,
        fits: impl Fn(&S) -> Result<(), Errno>,
        make: impl FnOnce() -> Result<S, Errno>,
    ) -> Result<Arc<Entry<S>>, Errno> {
        if key != IPC_PRIVATE {
            if let Some(found) = self.existing(key, flags, who, &fits) {
                return found;
            }
            if flags & IPC_CREAT == 0 {
                return Err(Errno::ENOENT);
            }
        }
        // Made without the lock, for there may be much to allocate; should somebody else have made one meanwhile, that one counts.
        let mut state = Some(State { perm: Perm::new(who, flags), removed: false, key, body: make()? });
        loop {
            if key != IPC_PRIVATE
                && let Some(found) = self.existing(key, flags, who, &fits)
            {
                return found;
            }
            let mut table = self.table.lock();
            if key == IPC_PRIVATE || !table.keys.contains_key(&key) {
                let made =
                    table.add(max, |id| state.take().map(|s| Arc::new(Entry { id, state: SpinLock::new(s) })))?;
                if key != IPC_PRIVATE {
                    table.keys.insert(key, made.clone());
                }
                return Ok(made);
            }
        }
    }
    fn existing(
        &self,
        key: i32,
        flags: u32,
        who: Who<'_>,
        fits: impl Fn(&S) -> Result<(), Errno>,
    ) -> Option<Result<Arc<Entry<S>>, Errno>> {
        let found = self.table.lock().keys.get(&key)?.clone();
        let state = found.lock();
        if state.removed {
            // Its remover has not come to the table yet.
            drop(state);
            self.remove(&found);
            return None;
        }
        let checked = if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
            Err(Errno::EEXIST)
        } else {
            fits(&state.body).and_then(|()| state.perm.check(who, flags))
        };
        drop(state);
        Some(checked.map(|()| found))
    }
    /// The object with this id; EINVAL when there is none.
    pub fn find(&self, id: i32) -> Result<Arc<Entry<S>>, Errno> {
        self.at(id as usize & (MAX - 1)).filter(|e| e.id == id).ok_or(Errno::EINVAL)
    }
    /// The object that `command` names: by index for the `_STAT` commands that list objects, else by id.
    pub fn find_for_stat(&self, number: i32, by_index: bool) -> Result<Arc<Entry<S>>, Errno> {
        if by_index { self.at(number as usize & (MAX - 1)).ok_or(Errno::EINVAL) } else { self.find(number) }
    }
    fn at(&self, index: usize) -> Option<Arc<Entry<S>>> {
        self.table.lock().slots.get(index)?.clone()
    }
    /// Takes an object out; it has been marked as removed.
    pub fn remove(&self, entry: &Arc<Entry<S>>) {
        let key = entry.lock().key;
        let mut table = self.table.lock();
        let slot = table.slots.get_mut(entry.id as usize & (MAX - 1));
        if let Some(slot) = slot
            && slot.as_ref().is_some_and(|e| Arc::ptr_eq(e, entry))
        {
            *slot = None;
            table.used -= 1;
        }
        table.forget_key(key, entry);
    }
    /// The object can be found by its id alone from now on.
    pub fn make_private(&self, entry: &Arc<Entry<S>>) {
        let key = core::mem::replace(&mut entry.lock().key, IPC_PRIVATE);
        self.table.lock().forget_key(key, entry);
    }
    /// Objects there are.
    pub fn used(&self) -> usize {
        self.table.lock().used
    }
    /// The highest index in use, 0 when there is none.
    pub fn max_index(&self) -> i32 {
        self.table.lock().slots.iter().rposition(Option::is_some).unwrap_or(0) as i32
    }
    /// The first object at `index` or above.
    pub fn next(&self, index: usize) -> Option<(usize, Arc<Entry<S>>)> {
        let table = self.table.lock();
        let rest = table.slots.get(index..)?;
        rest.iter().enumerate().find_map(|(n, slot)| Some((index + n, slot.clone()?)))
    }
    /// Calls `f` for each object, by index.
    pub fn for_each(&self, mut f: impl FnMut(&Arc<Entry<S>>)) {
        let mut index = 0;
        while let Some((at, entry)) = self.next(index) {
            f(&entry);
            index = at + 1;
        }
    }
    /// The id the next object gets if it is free, -1 for any.
    pub fn next_id(&self) -> i32 {
        self.table.lock().next_id
    }
    /// Sets [`Ids::next_id`].
    pub fn set_next_id(&self, id: i32) {
        self.table.lock().next_id = id;
    }
}

impl<S> Table<S> {
    fn forget_key(&mut self, key: i32, entry: &Arc<Entry<S>>) {
        if self.keys.get(&key).is_some_and(|e| Arc::ptr_eq(e, entry)) {
            self.keys.remove(&key);
        }
    }
    fn add(&mut self, max: usize, make: impl FnOnce(i32) -> Option<Arc<Entry<S>>>) -> Result<Arc<Entry<S>>, Errno> {
        if self.used >= max.min(MAX) {
            return Err(Errno::ENOSPC);
        }
        let wanted = core::mem::replace(&mut self.next_id, -1);
        let (index, seq) = match u32::try_from(wanted) {
            Ok(wanted) => {
                let index = self.free_in(wanted as usize & (MAX - 1), MAX).ok_or(Errno::ENOSPC)?;
                (index, wanted >> SHIFT)
            }
            Err(_) => {
                let limit = (self.used * 3 / 2).clamp(CYCLE, MAX);
                let start = self.last.map_or(0, |last| last + 1);
                let index = self.free_in(start, limit).or_else(|| self.free_in(0, limit)).ok_or(Errno::ENOSPC)?;
                if self.last.is_some_and(|last| index <= last) {
                    self.seq = (self.seq + 1) % SEQUENCES;
                }
                self.last = Some(index);
                (index, self.seq)
            }
        };
        if index >= self.slots.len() {
            let more = index + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize_with(index + 1, || None);
        }
        let entry = make((seq << SHIFT) as i32 | index as i32).ok_or(Errno::ENOMEM)?;
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(entry.clone());
            self.used += 1;
        }
        Ok(entry)
    }
    fn free_in(&self, start: usize, end: usize) -> Option<usize> {
        (start..end).find(|i| self.slots.get(*i).is_none_or(Option::is_none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::Cred;

    fn make(ids: &Ids<u32>, key: i32, flags: u32) -> Result<i32, Errno> {
        let root = Cred::root();
        let who = Who { cred: &root, pid: 1, over: UserNamespace::first() };
        ids.get((key, flags), who, 100, |_| Ok(()), || Ok(7)).map(|e| e.id())
    }

    fn remove(ids: &Ids<u32>, id: i32) {
        let entry = ids.find(id).unwrap();
        entry.lock().removed = true;
        ids.remove(&entry);
    }

    #[test]
    fn an_id_comes_back_late_and_with_another_sequence_number() {
        let ids = Ids::new();
        for n in 0..64 {
            assert_eq!(make(&ids, 0, 0), Ok(n));
            remove(&ids, n);
        }
        assert_eq!(make(&ids, 0, 0), Ok(1 << 15));
        assert_eq!(ids.find(0).err(), Some(Errno::EINVAL));
        assert_eq!(ids.find_for_stat(0, true).unwrap().id(), 1 << 15);
        assert_eq!((ids.used(), ids.max_index()), (1, 0));
    }

    #[test]
    fn keys_lead_to_one_object() {
        let ids = Ids::new();
        assert_eq!(make(&ids, 5, 0o600), Err(Errno::ENOENT));
        let id = make(&ids, 5, IPC_CREAT | 0o600).unwrap();
        assert_eq!(make(&ids, 5, 0o600), Ok(id));
        assert_eq!(make(&ids, 5, IPC_CREAT | IPC_EXCL), Err(Errno::EEXIST));
        ids.make_private(&ids.find(id).unwrap());
        assert_eq!(make(&ids, 5, 0), Err(Errno::ENOENT));
        assert!(ids.find(id).is_ok());
    }

    #[test]
    fn an_id_can_be_asked_for_once() {
        let ids = Ids::new();
        ids.set_next_id(3 << 15 | 9);
        assert_eq!(make(&ids, 0, 0), Ok(3 << 15 | 9));
        assert_eq!(ids.next_id(), -1);
        assert_eq!(make(&ids, 0, 0), Ok(0));
    }
}
