//! What a process does on each signal.

use abi::signal::{NSIG, SIG_DFL, SIG_IGN, SaFlags, SigAction, SigSet, Signal};
use machine::sync::SpinLock;

/// The table of actions; shared by the threads of a group, and by groups made with CLONE_SIGHAND.
pub struct SigHand(SpinLock<[SigAction; NSIG]>);

/// What happens when a signal with the default action is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// Nothing.
    Ignore,
    /// The process ends.
    Terminate,
    /// The process ends with the core-dump status.
    Core,
    /// The process stops.
    Stop,
}

/// The default action of `sig` (signal(7)).
pub const fn default_action(sig: Signal) -> Default {
    if SigSet::DEFAULT_IGNORED.has(sig) {
        Default::Ignore
    } else if SigSet::STOPS.has(sig) {
        Default::Stop
    } else if SigSet::DEFAULT_CORE.has(sig) {
        Default::Core
    } else {
        Default::Terminate
    }
}

impl core::default::Default for SigHand {
    fn default() -> Self {
        SigHand(SpinLock::new([SigAction::default(); NSIG]))
    }
}

impl SigHand {
    /// Ignores everything, SIGKILL too.
    pub fn ignoring() -> SigHand {
        SigHand(SpinLock::new([SigAction { handler: SIG_IGN, ..SigAction::default() }; NSIG]))
    }
    /// The action for `sig`.
    #[inline]
    pub fn get(&self, sig: Signal) -> SigAction {
        self.0.lock().get(sig.index()).copied().unwrap_or_default()
    }
    /// Replaces the action for `sig`; gives the old one.
    pub fn set(&self, sig: Signal, new: SigAction) -> SigAction {
        self.0.lock().get_mut(sig.index()).map(|slot| core::mem::replace(slot, new)).unwrap_or_default()
    }
    /// A copy for a child; with `clear`, handlers become the default and ignored signals stay so.
    pub fn fork(&self, clear: bool) -> SigHand {
        let copy = SigHand(SpinLock::new(*self.0.lock()));
        if clear {
            copy.reset_handlers();
        }
        copy
    }
    /// Exec: handlers become the default action; what is ignored stays ignored.
    pub fn reset_handlers(&self) {
        for a in self.0.lock().iter_mut() {
            let handler = if a.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *a = SigAction { handler, ..SigAction::default() };
        }
    }
    /// A signal that would do nothing if it were delivered now.
    pub fn ignores(&self, sig: Signal) -> bool {
        let action = self.get(sig);
        action.handler == SIG_IGN || (action.handler == SIG_DFL && SigSet::DEFAULT_IGNORED.has(sig))
    }
    /// The ignored and the caught signals, for /proc.
    pub fn sets(&self) -> (SigSet, SigSet) {
        let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
        for (i, a) in (1..).zip(self.0.lock().iter()) {
            if let Some(sig) = Signal::from_raw(i) {
                match a.handler {
                    SIG_DFL => {}
                    SIG_IGN => ignored = ignored.with(sig),
                    _ => caught = caught.with(sig),
                }
            }
        }
        (ignored, caught)
    }
    /// Exiting children vanish at once, and whether their parent hears of it.
    pub fn child_exit(&self) -> (bool, bool) {
        let action = self.get(Signal::CHLD);
        let ignored = action.handler == SIG_IGN;
        (ignored || action.flags().contains(SaFlags::NOCLDWAIT), !ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_keeps_what_is_ignored_only() {
        let hand = SigHand::default();
        hand.set(Signal::INT, SigAction { handler: SIG_IGN, flags: 4, ..SigAction::default() });
        hand.set(Signal::TERM, SigAction { handler: 0x1000, ..SigAction::default() });
        assert_eq!(hand.sets(), (SigSet::EMPTY.with(Signal::INT), SigSet::EMPTY.with(Signal::TERM)));
        let child = hand.fork(true);
        assert_eq!(child.get(Signal::INT), SigAction { handler: SIG_IGN, ..SigAction::default() });
        assert_eq!(child.get(Signal::TERM).handler, SIG_DFL);
        assert_eq!(hand.get(Signal::TERM).handler, 0x1000);
    }

    #[test]
    fn default_actions_are_those_of_the_manual() {
        assert_eq!(default_action(Signal::CHLD), Default::Ignore);
        assert_eq!(default_action(Signal::TTIN), Default::Stop);
        assert_eq!(default_action(Signal::QUIT), Default::Core);
        assert_eq!(default_action(Signal::KILL), Default::Terminate);
        assert!(SigHand::default().ignores(Signal::WINCH) && !SigHand::default().ignores(Signal::STOP));
    }
}
