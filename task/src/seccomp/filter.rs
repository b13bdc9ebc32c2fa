//! One filter, joined to the ones installed before it.

use super::notify::Notifier;
use abi::Errno;
use abi::seccomp::{SeccompData, action};
use abi::signal::AUDIT_ARCH_X86_64;
use alloc::sync::Arc;
use alloc::vec::Vec;
use cbpf::{CheckError, Data, Insn, Program, Rules, Size};

/// Instructions that all filters on a path may have together.
const MAX_PATH: usize = (1 << 18) / size_of::<Insn>();
/// What each older filter counts beyond its instructions.
const PENALTY: usize = 4;
/// Call numbers that the bitmap covers.
const NUMBERS: usize = 512;
/// Calls that only the kernel's own trampolines make (uretprobe, uprobe): no filter stops them.
pub(super) const PROBES: core::ops::RangeInclusive<i32> = 335..=336;

/// A filter.
pub struct Filter {
    program: Program,
    /// As it was given, for tracers.
    source: Vec<Insn>,
    prev: Option<Arc<Filter>>,
    notifier: Option<Arc<Notifier>>,
    logs: bool,
    /// Calls that this filter and all before it allow whatever their arguments are.
    allowed: [u64; NUMBERS / 64],
}

impl Filter {
    /// Checks a program.
    pub(super) fn new(source: Vec<Insn>, logs: bool, notifier: Option<Arc<Notifier>>) -> Result<Filter, Errno> {
        let rules = Rules::Seccomp { size: size_of::<SeccompData>() as u32 };
        let program = Program::check(&source, rules).map_err(|e| match e {
            CheckError::Invalid => Errno::EINVAL,
            CheckError::NoMemory => Errno::ENOMEM,
        })?;
        Ok(Filter { program, source, prev: None, notifier, logs, allowed: [0; NUMBERS / 64] })
    }
    /// Puts it in front of `prev`; ENOMEM when the path gets too long.
    pub(super) fn join(&mut self, prev: Option<Arc<Filter>>) -> Result<(), Errno> {
        let older: usize = path(prev.as_ref()).map(|f| f.program.len() + PENALTY).sum();
        if self.program.len() + older > MAX_PATH {
            return Err(Errno::ENOMEM);
        }
        let before = prev.as_ref().map_or([u64::MAX; NUMBERS / 64], |p| p.allowed);
        for (i, (word, before)) in self.allowed.iter_mut().zip(before).enumerate() {
            let allows = |bit: &usize| before >> bit & 1 != 0 && always_allows(&self.program, (i * 64 + bit) as i32);
            *word = (0..64).filter(allows).fold(0, |word, bit| word | 1 << bit);
        }
        self.prev = prev;
        Ok(())
    }
    /// The filter installed before this one.
    pub(super) fn prev(&self) -> Option<&Arc<Filter>> {
        self.prev.as_ref()
    }
    /// The way to its listener.
    pub(super) fn notifier(&self) -> Option<&Arc<Notifier>> {
        self.notifier.as_ref()
    }
    /// What it does is told to the log.
    pub(super) fn logs(&self) -> bool {
        self.logs
    }
    /// As it was given.
    pub(super) fn source(&self) -> Result<Vec<Insn>, Errno> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.source.len()).map_err(|_| Errno::ENOMEM)?;
        copy.extend_from_slice(&self.source);
        Ok(copy)
    }
    /// No filter on the path stops this call, whatever its arguments.
    #[inline]
    pub(super) fn always_allowed(&self, nr: u32) -> bool {
        self.allowed.get(nr as usize / 64).is_some_and(|word| word >> (nr % 64) & 1 != 0)
    }
    /// Runs all filters on the path: the result of highest priority, of equal ones the youngest filter's, and whose it is.
    pub(super) fn run<'a>(self: &'a Arc<Filter>, data: &SeccompData) -> (u32, Option<&'a Arc<Filter>>) {
        // The smaller a number the action is, taken as signed, the more it matters.
        let rank = |result: u32| (result & action::FULL) as i32;
        let mut worst = (action::ALLOW, None);
        for filter in path(Some(self)) {
            let result = filter.program.run(&Call(data));
            if rank(result) < rank(worst.0) {
                worst = (result, Some(filter));
            }
        }
        worst
    }
    /// `other` is on the path of `self`, or is it.
    pub(super) fn descends_from(self: &Arc<Filter>, other: &Arc<Filter>) -> bool {
        path(Some(self)).any(|f| Arc::ptr_eq(f, other))
    }
}

/// A filter and all before it.
pub(super) fn path(youngest: Option<&Arc<Filter>>) -> impl Iterator<Item = &Arc<Filter>> {
    core::iter::successors(youngest, |f| f.prev.as_ref())
}

impl Drop for Filter {
    /// Its listener learns that nobody is left. A path may be thousands long: its filters are let go in a loop, not each by the
    /// next one's drop.
    fn drop(&mut self) {
        if let Some(n) = &self.notifier {
            n.abandoned();
        }
        let mut next = self.prev.take();
        while let Some(mut filter) = next.and_then(Arc::into_inner) {
            next = filter.prev.take();
        }
    }
}

/// The data of a call: words at fixed offsets, which the checks have proven to be inside and aligned.
struct Call<'a>(&'a SeccompData);

impl Data for Call<'_> {
    #[inline(always)]
    fn load(&self, _: Size, offset: u32) -> Option<u32> {
        let d = self.0;
        let half = |value: u64| if offset & 4 == 0 { value as u32 } else { (value >> 32) as u32 };
        Some(match offset / 8 {
            0 if offset < 4 => d.nr as u32,
            0 => d.arch,
            1 => half(d.ip),
            word => half(*d.args.get(word as usize - 2)?),
        })
    }
    fn len(&self) -> u32 {
        size_of::<SeccompData>() as u32
    }
}

/// A call of which only number and machine are known.
struct Number(i32);

impl Data for Number {
    fn load(&self, _: Size, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.0 as u32),
            4 => Some(AUDIT_ARCH_X86_64),
            _ => None,
        }
    }
    fn len(&self) -> u32 {
        size_of::<SeccompData>() as u32
    }
}

fn always_allows(program: &Program, nr: i32) -> bool {
    PROBES.contains(&nr) || program.try_run(&Number(nr)) == Some(action::ALLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use cbpf::code::*;

    fn made(source: Vec<Insn>, prev: Option<&Arc<Filter>>) -> Arc<Filter> {
        let mut f = Filter::new(source, false, None).unwrap();
        f.join(prev.cloned()).unwrap();
        Arc::new(f)
    }

    fn returns(result: u32) -> Vec<Insn> {
        vec![Insn::new(RET | K, result)]
    }

    #[test]
    fn the_worst_action_wins_and_of_equals_the_youngest() {
        let data = SeccompData::default();
        let a = made(returns(action::ERRNO | 1), None);
        let b = made(returns(action::ERRNO | 2), Some(&a));
        assert_eq!(b.run(&data).0, action::ERRNO | 2);
        let c = made(returns(action::TRACE), Some(&b));
        let (result, whose) = c.run(&data);
        assert_eq!(result, action::ERRNO | 2);
        assert!(whose.is_some_and(|f| Arc::ptr_eq(f, &b)));
        let d = made(returns(action::KILL_PROCESS), Some(&made(returns(action::KILL_THREAD), Some(&c))));
        assert_eq!(d.run(&data).0, action::KILL_PROCESS);
        assert!(d.descends_from(&a) && !a.descends_from(&d));
    }

    #[test]
    fn arguments_are_seen_in_halves() {
        let data = SeccompData { nr: 1, arch: 2, ip: 0x4_0000_0003, args: [0x6_0000_0005, 0, 0, 0, 0, 0xe_0000_000d] };
        for (offset, value) in [(0, 1), (4, 2), (8, 3), (12, 4), (16, 5), (20, 6), (56, 13), (60, 14)] {
            assert_eq!(Call(&data).load(Size::Word, offset), Some(value), "{offset}");
        }
    }

    #[test]
    fn what_does_not_depend_on_arguments_is_kept_in_a_bitmap() {
        let skip = |nr| {
            vec![
                Insn::new(LD | W | ABS, 0),
                Insn::jump(JMP | JEQ | K, nr, 1, 0),
                Insn::new(RET | K, action::ALLOW),
                Insn::new(LD | W | ABS, 16),
                Insn::new(RET | A, 0),
            ]
        };
        let a = made(skip(39), None);
        let b = made(skip(511), Some(&a));
        let allowed = |f: &Filter, nr| f.always_allowed(nr);
        assert!(!allowed(&a, 39) && allowed(&a, 511) && allowed(&a, 0));
        assert!(!allowed(&b, 39) && !allowed(&b, 511) && allowed(&b, 0));
        assert!(!allowed(&b, 512) && !allowed(&b, u32::MAX) && allowed(&made(returns(0), None), 335));
    }

    #[test]
    fn long_paths_are_refused_and_let_go_without_recursion() {
        let mut at = made(returns(action::ALLOW), None);
        let mut count = 1;
        loop {
            let mut f = Filter::new(returns(action::ALLOW), false, None).unwrap();
            if f.join(Some(at.clone())).is_err() {
                break;
            }
            (at, count) = (Arc::new(f), count + 1);
        }
        assert_eq!(count, MAX_PATH.div_ceil(1 + PENALTY));
        drop(at);
    }
}
