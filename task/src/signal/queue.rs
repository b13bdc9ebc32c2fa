//! A queue of pending signals: one of each process, one of each thread. Pure data; the caller holds the signal lock.
//! Source: signal(7), "Queueing and delivery semantics for standard signals".

use crate::users::UserCounts;
use abi::Errno;
use abi::signal::{SigInfo, SigSet, Signal, si};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// Who has a signal of his own in a queue, once at most (a POSIX timer). `queued` and `dropped` are called under the signal lock.
pub trait Origin: Send + Sync {
    /// It is in a queue, or has been taken out.
    fn queued(&self, is: bool);
    /// It was thrown away undelivered, as the signal is ignored.
    fn dropped(&self);
    /// It was taken by the receiving thread, which holds no lock: fills in what is known only now. `false` when the signal is no
    /// longer meant.
    fn taken(&self, info: &mut SigInfo) -> bool;
}

struct Queued {
    info: SigInfo,
    /// Who pays for the entry under RLIMIT_SIGPENDING.
    payer: Option<Arc<UserCounts>>,
    origin: Option<Arc<dyn Origin>>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(user) = &self.payer {
            user.remove_signal();
        }
    }
}

/// A signal taken from a queue.
pub struct Taken {
    /// What it says.
    pub info: SigInfo,
    /// Who is to be told.
    pub origin: Option<Arc<dyn Origin>>,
}

/// Pending signals.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    /// Taken from its front, mostly: a long queue is not to be moved for each.
    queue: VecDeque<Queued>,
}

/// How a signal is paid for.
pub struct Payment<'a> {
    /// The receiver's user.
    pub user: &'a Arc<UserCounts>,
    /// The receiver's RLIMIT_SIGPENDING.
    pub limit: u64,
}

impl Pending {
    /// Nothing pending.
    pub const fn new() -> Pending {
        Pending { set: SigSet::EMPTY, queue: VecDeque::new() }
    }
    /// Which signals are pending.
    #[inline]
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Adds a signal. A standard signal that is pending already stays as it is (`Ok(false)`). EAGAIN when the queue of the user
    /// is full and the signal cannot be sent without its information.
    pub fn add(&mut self, sig: Signal, info: &SigInfo, pay: &Payment) -> Result<bool, Errno> {
        if !sig.is_realtime() && self.set.has(sig) {
            return Ok(false);
        }
        // What the kernel itself says in a standard signal is never lost to the limit.
        let limit = if !sig.is_realtime() && info.code >= 0 { u64::MAX } else { pay.limit };
        let paid = pay.user.try_add_signal(limit);
        if paid {
            let entry = Queued { info: *info, payer: Some(pay.user.clone()), origin: None };
            if self.queue.try_reserve(1).is_ok() {
                self.queue.push_back(entry);
                self.set = self.set.with(sig);
                return Ok(true);
            }
        }
        if sig.is_realtime() && info.code != si::USER {
            return Err(Errno::EAGAIN);
        }
        self.set = self.set.with(sig);
        Ok(true)
    }

    /// Adds the signal of somebody who has paid for his place in the queue before: it is never lost, nor merged with others.
    pub fn add_origin(&mut self, sig: Signal, info: &SigInfo, origin: Arc<dyn Origin>) {
        if self.queue.try_reserve(1).is_err() {
            return;
        }
        origin.queued(true);
        self.queue.push_back(Queued { info: *info, payer: None, origin: Some(origin) });
        self.set = self.set.with(sig);
    }

    /// Takes the next signal of `wanted`: those of the running instruction first, then the lowest number; instances of one signal
    /// in the order sent.
    pub fn take(&mut self, wanted: SigSet) -> Option<Taken> {
        let ready = self.set.intersect(wanted);
        let sig = ready.intersect(SigSet::SYNCHRONOUS).first().or(ready.first())?;
        let mut of_sig = self.queue.iter().enumerate().filter(|(_, q)| q.info.signo == i32::from(sig.number()));
        let first = of_sig.next().map(|(i, _)| i);
        let more = of_sig.next().is_some();
        if !more {
            self.set = self.set.without(sig);
        }
        Some(match first {
            Some(i) => {
                let mut entry = self.queue.remove(i)?;
                if let Some(origin) = &entry.origin {
                    origin.queued(false);
                }
                Taken { info: entry.info, origin: entry.origin.take() }
            }
            None => Taken { info: SigInfo::user(sig, si::USER, 0, 0), origin: None },
        })
    }

    /// The entry number `at` in order of arrival, left where it is.
    pub fn peek(&self, at: usize) -> Option<SigInfo> {
        self.queue.get(at).map(|q| q.info)
    }

    /// Forgets all instances of the signals in `set`.
    pub fn discard(&mut self, set: SigSet) {
        if self.set.intersect(set).is_empty() {
            return;
        }
        self.set = self.set.minus(set);
        self.queue.retain(|q| {
            let goes = Signal::from_raw(q.info.signo).is_some_and(|s| set.has(s));
            if goes && let Some(origin) = &q.origin {
                origin.dropped();
            }
            !goes
        });
    }

    /// Forgets the signals of those who own them: an execve ends all timers.
    pub fn discard_origins(&mut self) {
        let mut rest = SigSet::EMPTY;
        let mut gone = SigSet::EMPTY;
        self.queue.retain(|q| {
            let Some(sig) = Signal::from_raw(q.info.signo) else { return false };
            let set = if q.origin.is_some() { &mut gone } else { &mut rest };
            *set = set.with(sig);
            q.origin.is_none()
        });
        self.set = self.set.minus(gone.minus(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn user() -> Arc<UserCounts> {
        UserCounts::alone()
    }
    fn all() -> SigSet {
        SigSet(!0)
    }
    fn info(sig: Signal, value: u64) -> SigInfo {
        SigInfo { words: [0, value, 0, 0], ..SigInfo::user(sig, si::QUEUE, 1, 2) }
    }

    #[test]
    fn standard_signals_merge_and_realtime_ones_queue_in_order() {
        let (user, mut p) = (user(), Pending::new());
        let pay = Payment { user: &user, limit: 10 };
        let rt = Signal::from_raw(40).unwrap();
        assert_eq!(p.add(Signal::USR1, &info(Signal::USR1, 1), &pay), Ok(true));
        assert_eq!(p.add(Signal::USR1, &info(Signal::USR1, 2), &pay), Ok(false));
        assert_eq!(p.add(rt, &info(rt, 3), &pay), Ok(true));
        assert_eq!(p.add(rt, &info(rt, 4), &pay), Ok(true));
        assert_eq!(user.signals(), 3);
        let values: Vec<u64> = core::iter::from_fn(|| p.take(all())).map(|t| t.info.value()).collect();
        assert_eq!(values, [1, 3, 4]);
        assert_eq!((user.signals(), p.set()), (0, SigSet::EMPTY));
    }

    #[test]
    fn faults_come_before_lower_numbers_and_masks_hold() {
        let (user, mut p) = (user(), Pending::new());
        let pay = Payment { user: &user, limit: 10 };
        for sig in [Signal::HUP, Signal::SEGV, Signal::TERM] {
            p.add(sig, &SigInfo::kernel(sig), &pay).unwrap();
        }
        let mut next = |set| p.take(set).map(|t| t.info.signo);
        assert_eq!(next(all()), Some(11));
        assert_eq!(next(SigSet::EMPTY.with(Signal::TERM)), Some(15));
        assert_eq!(next(SigSet::EMPTY.with(Signal::TERM)), None);
        assert_eq!(next(all()), Some(1));
    }

    #[test]
    fn a_full_queue_loses_information_but_only_of_plain_kills() {
        let (user, mut p) = (user(), Pending::new());
        let pay = Payment { user: &user, limit: 0 };
        let rt = Signal::from_raw(50).unwrap();
        assert_eq!(p.add(rt, &info(rt, 1), &pay), Err(Errno::EAGAIN));
        assert_eq!(p.add(rt, &SigInfo::user(rt, si::USER, 5, 6), &pay), Ok(true));
        assert_eq!(p.take(all()).map(|t| t.info.pid()), Some(0));
        assert_eq!(p.add(Signal::CHLD, &SigInfo::child(Signal::CHLD, 1, 9, 0, 0, 0, 0), &pay), Ok(true));
        assert_eq!(p.take(all()).map(|t| t.info.pid()), Some(9));
        assert_eq!(user.signals(), 0);
    }

    #[test]
    fn discarding_removes_every_instance() {
        let (user, mut p) = (user(), Pending::new());
        let pay = Payment { user: &user, limit: 10 };
        p.add(Signal::STOP, &SigInfo::kernel(Signal::STOP), &pay).unwrap();
        p.add(Signal::TERM, &SigInfo::kernel(Signal::TERM), &pay).unwrap();
        p.discard(SigSet::STOPS);
        assert_eq!(p.set(), SigSet::EMPTY.with(Signal::TERM));
        assert_eq!(user.signals(), 1);
    }
}
