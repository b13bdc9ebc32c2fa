//! The state of a semaphore set, and the attempt at a list of operations on it.

use crate::namespace::Share;
use crate::seconds;
use abi::Errno;
use abi::ipc::{IPC_NOWAIT, SEM_UNDO, SEMVMX, Sembuf};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::*};
use sched::Thread;
use smallvec::SmallVec;

/// The list of one call; single operations stay out of the heap.
pub type Ops = SmallVec<[Sembuf; 2]>;

/// One semaphore.
#[derive(Clone, Copy, Default)]
pub struct Sem {
    /// Its value.
    pub value: i32,
    /// The process that changed it last.
    pub pid: i32,
}

/// How an attempt went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// All operations are done.
    Done,
    /// Nothing was done, because this one must wait.
    Waits(usize),
}

/// A result that is not there yet.
const PENDING: i32 = i32::MIN;

/// A call that waits.
pub struct Waiter {
    ops: Ops,
    undo: Option<u64>,
    pid: i32,
    thread: Arc<Thread>,
    /// Which of the operations it waits for.
    blocking: AtomicUsize,
    /// 0, an errno, or [`PENDING`].
    result: AtomicI32,
}

impl Waiter {
    pub fn new(ops: Ops, undo: Option<u64>, pid: i32, blocking: usize) -> Arc<Waiter> {
        let thread = sched::current();
        Arc::new(Waiter {
            ops,
            undo,
            pid,
            thread,
            blocking: AtomicUsize::new(blocking),
            result: AtomicI32::new(PENDING),
        })
    }
    /// What became of it, once that is known.
    pub fn result(&self) -> Option<Result<(), Errno>> {
        match self.result.load(Acquire) {
            PENDING => None,
            0 => Some(Ok(())),
            e => Some(Err(if e == Errno::EIDRM as i32 { Errno::EIDRM } else { Errno::ERANGE })),
        }
    }
    fn finish(&self, result: Result<(), Errno>) {
        self.result.store(result.map_or_else(|e| e as i32, |()| 0), Release);
        self.thread.wake();
    }
    /// It changes no value.
    fn only_waits(&self) -> bool {
        self.ops.iter().all(|o| o.op == 0)
    }
}

/// A set.
pub struct Set {
    /// The semaphores.
    pub sems: Vec<Sem>,
    _share: Share,
    /// Calls that wait, in the order they came.
    pending: VecDeque<Arc<Waiter>>,
    /// What each list of undo entries adds to each semaphore at its end.
    undos: BTreeMap<u64, Vec<i16>>,
    /// Time of the last operation.
    pub otime: i64,
    /// Time of the last change by semctl.
    pub ctime: i64,
}

impl Set {
    pub(super) fn new(count: usize, share: Share) -> Result<Set, Errno> {
        let mut sems = Vec::new();
        sems.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        sems.resize(count, Sem::default());
        let (pending, undos) = (VecDeque::new(), BTreeMap::new());
        Ok(Set { sems, _share: share, pending, undos, otime: 0, ctime: seconds() })
    }
    /// Number of semaphores.
    pub fn len(&self) -> usize {
        self.sems.len()
    }
    /// Never true; sets have at least one semaphore.
    pub fn is_empty(&self) -> bool {
        self.sems.is_empty()
    }
    /// The undo list has an entry here from now on.
    pub fn add_undo(&mut self, list: u64) -> Result<(), Errno> {
        if !self.undos.contains_key(&list) {
            let mut adjust = Vec::new();
            adjust.try_reserve_exact(self.sems.len()).map_err(|_| Errno::ENOMEM)?;
            adjust.resize(self.sems.len(), 0);
            self.undos.insert(list, adjust);
        }
        Ok(())
    }
    /// Does all of `ops`, or nothing.
    pub fn attempt(&mut self, ops: &[Sembuf], undo: Option<u64>, pid: i32) -> Result<Attempt, Errno> {
        let mut outcome = Ok(Attempt::Done);
        let mut done = 0;
        for (at, op) in ops.iter().enumerate() {
            match self.step(op, undo) {
                Ok(true) => done = at + 1,
                Ok(false) => {
                    let nowait = u32::from(op.flags) & IPC_NOWAIT != 0;
                    outcome = if nowait { Err(Errno::EAGAIN) } else { Ok(Attempt::Waits(at)) };
                    break;
                }
                Err(e) => {
                    outcome = Err(e);
                    break;
                }
            }
        }
        if outcome == Ok(Attempt::Done) {
            for op in ops {
                if let Some(sem) = self.sems.get_mut(usize::from(op.num)) {
                    sem.pid = pid;
                }
            }
            self.otime = seconds();
        } else {
            for op in ops.iter().take(done).rev() {
                self.step_back(op, undo);
            }
        }
        outcome
    }
    /// One operation; false when it must wait.
    fn step(&mut self, op: &Sembuf, undo: Option<u64>) -> Result<bool, Errno> {
        let index = usize::from(op.num);
        let sem = self.sems.get_mut(index).ok_or(Errno::EFBIG)?;
        let value = sem.value + i32::from(op.op);
        if op.op == 0 && sem.value != 0 || value < 0 {
            return Ok(false);
        }
        if value > SEMVMX {
            return Err(Errno::ERANGE);
        }
        if op.flags & SEM_UNDO != 0
            && let Some(adjust) = adjustment(&mut self.undos, undo, index)
        {
            let sum = i32::from(*adjust) - i32::from(op.op);
            *adjust = i16::try_from(sum).map_err(|_| Errno::ERANGE)?;
        }
        sem.value = value;
        Ok(true)
    }
    fn step_back(&mut self, op: &Sembuf, undo: Option<u64>) {
        let index = usize::from(op.num);
        if let Some(sem) = self.sems.get_mut(index) {
            sem.value -= i32::from(op.op);
        }
        if op.flags & SEM_UNDO != 0
            && let Some(adjust) = adjustment(&mut self.undos, undo, index)
        {
            *adjust = adjust.wrapping_add(op.op);
        }
    }
    /// Makes `waiter` wait.
    pub fn wait(&mut self, waiter: &Arc<Waiter>) -> Result<(), Errno> {
        self.pending.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.pending.push_back(waiter.clone());
        Ok(())
    }
    /// `waiter` gives up.
    pub fn leave(&mut self, waiter: &Arc<Waiter>) {
        self.pending.retain(|w| !Arc::ptr_eq(w, waiter));
    }
    /// Values have changed: finishes what can go on now. Those that wait for zero come first, as they change nothing.
    pub fn retry(&mut self) {
        loop {
            self.retry_some(true);
            if !self.retry_some(false) {
                return;
            }
        }
    }
    /// Tries the waiting calls that change nothing (all of them) or the others (until one is done); whether one changed a value.
    fn retry_some(&mut self, only_waits: bool) -> bool {
        let mut at = 0;
        while let Some(waiter) = self.pending.get(at).cloned() {
            if waiter.only_waits() != only_waits {
                at += 1;
                continue;
            }
            let result = match self.attempt(&waiter.ops, waiter.undo, waiter.pid) {
                Ok(Attempt::Waits(op)) => {
                    waiter.blocking.store(op, Relaxed);
                    at += 1;
                    continue;
                }
                Ok(Attempt::Done) => Ok(()),
                Err(e) => Err(e),
            };
            self.pending.remove(at);
            waiter.finish(result);
            if !only_waits && result.is_ok() {
                return true;
            }
        }
        false
    }
    /// The set is removed.
    pub fn dissolve(&mut self) {
        self.undos.clear();
        for waiter in core::mem::take(&mut self.pending) {
            waiter.finish(Err(Errno::EIDRM));
        }
    }
    /// Calls that wait for semaphore `index` to become zero, or to grow.
    pub fn waiting(&self, index: usize, for_zero: bool) -> usize {
        let waits = |w: &&Arc<Waiter>| {
            w.ops
                .get(w.blocking.load(Relaxed))
                .is_some_and(|op| usize::from(op.num) == index && if for_zero { op.op == 0 } else { op.op < 0 })
        };
        self.pending.iter().filter(waits).count()
    }
    /// Forgets what is to be taken back on semaphore `index`, or on all.
    pub fn forget_undo(&mut self, index: Option<usize>) {
        for adjust in self.undos.values_mut() {
            match index {
                None => adjust.fill(0),
                Some(index) => {
                    if let Some(a) = adjust.get_mut(index) {
                        *a = 0;
                    }
                }
            }
        }
    }
    /// A process ended: takes its operations back. Values stay within their limits.
    pub fn take_back(&mut self, list: u64, pid: i32) {
        let Some(adjust) = self.undos.remove(&list) else { return };
        for (sem, adjust) in self.sems.iter_mut().zip(adjust).filter(|(_, a)| *a != 0) {
            sem.value = (sem.value + i32::from(adjust)).clamp(0, SEMVMX);
            sem.pid = pid;
        }
        self.otime = seconds();
        self.retry();
    }
}

fn adjustment(undos: &mut BTreeMap<u64, Vec<i16>>, list: Option<u64>, index: usize) -> Option<&mut i16> {
    undos.get_mut(&list?)?.get_mut(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IpcNamespace;

    fn set() -> Set {
        let ns = IpcNamespace::new(vfs::user_ns::UserNamespace::first());
        Set::new(3, ns.sems.take(3, 10).unwrap()).unwrap()
    }

    fn op(num: u16, op: i16, flags: u16) -> Sembuf {
        Sembuf { num, op, flags }
    }

    #[test]
    fn a_list_is_done_whole_or_not_at_all() {
        let mut s = set();
        assert_eq!(s.attempt(&[op(0, 2, 0), op(1, -1, 0)], None, 5), Ok(Attempt::Waits(1)));
        assert_eq!((s.sems[0].value, s.sems[0].pid), (0, 0));
        assert_eq!(s.attempt(&[op(0, 2, 0), op(1, -1, IPC_NOWAIT as u16)], None, 5), Err(Errno::EAGAIN));
        assert_eq!(s.attempt(&[op(0, 2, 0), op(1, 1, 0), op(1, -1, 0)], None, 5), Ok(Attempt::Done));
        assert_eq!((s.sems[0].value, s.sems[1].value, s.sems[1].pid), (2, 0, 5));
        assert_eq!(s.attempt(&[op(0, 32766, 0)], None, 5), Err(Errno::ERANGE));
    }

    #[test]
    fn what_a_process_did_is_taken_back() {
        let mut s = set();
        s.add_undo(9).unwrap();
        s.attempt(&[op(0, 5, 0)], None, 1).unwrap();
        s.attempt(&[op(0, -3, SEM_UNDO), op(1, 4, SEM_UNDO)], Some(9), 2).unwrap();
        s.attempt(&[op(1, -2, 0)], None, 1).unwrap();
        s.take_back(9, 2);
        assert_eq!((s.sems[0].value, s.sems[1].value), (5, 0));
        assert_eq!(s.attempt(&[op(2, 1, SEM_UNDO)], Some(9), 2), Ok(Attempt::Done));
    }
}
