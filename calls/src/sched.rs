//! Scheduling parameters.

use abi::Errno;
use abi::resource::Resource;
use abi::sched::{SCHED_ATTR_SIZE_VER0, SchedAttr, attr_flags, policy};
use abi::time::Timespec;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::{PAGE_SIZE, VirtAddr};
use mm::UserPtr;
use sched::{CpuSet, Policy, Thread};
use task::{Cx, Task};
use vfs::Cap;
use zerocopy::{FromZeros, IntoBytes};

/// sched_yield(2)
pub fn sched_yield(_cx: &mut Cx) -> Result<(), Errno> {
    sched::yield_now();
    Ok(())
}

fn target(cx: &Cx, pid: i32) -> Result<Arc<Task>, Errno> {
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    if pid == 0 { Ok(cx.task.clone()) } else { cx.find_task(pid).ok_or(Errno::ESRCH) }
}

fn thread(task: &Task) -> Result<&Arc<Thread>, Errno> {
    task.thread().ok_or(Errno::ESRCH)
}

/// The caller owns the target, or may do everything.
fn same_owner(cx: &Cx, target: &Task) -> bool {
    let it = target.cred();
    let me = cx.cred().euid;
    me == it.euid || me == it.uid
}

fn privileged(cx: &Cx) -> bool {
    cx.cred().capable(Cap::SysNice)
}

/// sched_setaffinity(2)
pub fn sched_setaffinity(cx: &mut Cx, pid: i32, len: usize, mask: VirtAddr) -> Result<(), Errno> {
    let mut words = [0u64; machine::cpu::MAX_CPUS.div_ceil(64)];
    // As many words as the machine's CPUs take: what lies behind is not looked at.
    let size = len.min(machine::cpu::count().div_ceil(64) * size_of::<u64>());
    cx.mm().read_bytes(mask, words.as_mut_bytes().get_mut(..size).unwrap_or_default())?;
    let task = if pid == 0 { cx.task.clone() } else { cx.find_task(pid).ok_or(Errno::ESRCH)? };
    if !same_owner(cx, &task) && !cx.cred().capable_in(&task.cred().user_ns, Cap::SysNice) {
        return Err(Errno::EPERM);
    }
    let set = CpuSet::from_words(&words);
    if thread(&task)?.set_affinity(&set) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// sched_getaffinity(2)
pub fn sched_getaffinity(cx: &mut Cx, pid: i32, len: usize, mask: VirtAddr) -> Result<i32, Errno> {
    let cpus = machine::cpu::count();
    // Both are 32-bit numbers on Linux.
    let len = len as u32;
    if len.wrapping_mul(8) < cpus as u32 || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let task = if pid == 0 { cx.task.clone() } else { cx.find_task(pid).ok_or(Errno::ESRCH)? };
    let set = thread(&task)?.affinity();
    let mut present = CpuSet::empty();
    (0..cpus as u32).for_each(|i| present.insert(machine::cpu::CpuId(i)));
    let set = set.and(&present);
    let size = (len as usize).min(cpus.div_ceil(64) * 8);
    cx.mm().write_bytes(mask, set.words().as_bytes().get(..size).unwrap_or_default())?;
    Ok(size as i32)
}

/// What a change of policy asks for.
struct Change {
    policy: u32,
    priority: u32,
    nice: i32,
    /// The slice of a fair thread, 0 for that of all.
    slice_ns: u64,
    reset_on_fork: bool,
    util: Option<(u16, u16)>,
}

fn apply(cx: &Cx, task: &Arc<Task>, change: &Change) -> Result<(), Errno> {
    let now = thread(task)?;
    let new = Policy::from_raw(change.policy).ok_or(Errno::EINVAL)?;
    if change.priority > 99 || new.is_realtime() != (change.priority != 0) {
        return Err(Errno::EINVAL);
    }
    if !privileged(cx) {
        let limits = &task.process().limits;
        let rt_limit = limits.soft(Resource::Rtprio);
        let refused = !same_owner(cx, task)
            || (new.is_realtime() && new != now.policy() && rt_limit == 0)
            || (change.priority > u32::from(now.rt_priority()) && u64::from(change.priority) > rt_limit)
            || (now.policy() == Policy::Idle && new != Policy::Idle && !may_nice(task, i32::from(now.nice())))
            || (!new.is_realtime() && change.nice < i32::from(now.nice()) && !may_nice(task, change.nice))
            || (task.reset_on_fork.load(Relaxed) && !change.reset_on_fork);
        if refused {
            return Err(Errno::EPERM);
        }
    }
    if let Some(util) = change.util {
        now.set_util_clamp(util);
    }
    task.reset_on_fork.store(change.reset_on_fork, Relaxed);
    if !new.is_realtime() {
        now.set_slice(change.slice_ns);
    }
    now.set_policy(new, change.priority as u8, change.nice.clamp(-20, 19) as i8);
    task::futex::priority_changed(&(task.clone() as _));
    Ok(())
}

fn own_slice(thread: &Thread) -> u64 {
    if thread.has_own_slice() { thread.slice_ns() } else { 0 }
}

/// RLIMIT_NICE allows this nice value.
fn may_nice(task: &Task, nice: i32) -> bool {
    (20 - i64::from(nice)) as u64 <= task.process().limits.soft(Resource::Nice)
}

/// sched_setscheduler(2)
pub fn sched_setscheduler(cx: &mut Cx, pid: i32, policy: i32, param: UserPtr<i32>) -> Result<(), Errno> {
    if policy < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let raw = policy as u32;
    set_scheduler(cx, pid, Some(raw), param)
}

/// sched_setparam(2)
pub fn sched_setparam(cx: &mut Cx, pid: i32, param: UserPtr<i32>) -> Result<(), Errno> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    set_scheduler(cx, pid, None, param)
}

fn set_scheduler(cx: &Cx, pid: i32, raw: Option<u32>, param: UserPtr<i32>) -> Result<(), Errno> {
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = param.read(cx.mm())?;
    let task = target(cx, pid)?;
    let now = thread(&task)?;
    let change = Change {
        policy: raw.map_or(now.policy() as u32, |r| r & !policy::RESET_ON_FORK),
        priority: u32::try_from(priority).map_err(|_| Errno::EINVAL)?,
        nice: now.nice().into(),
        slice_ns: own_slice(now),
        util: None,
        reset_on_fork: raw.map_or(task.reset_on_fork.load(Relaxed), |r| r & policy::RESET_ON_FORK != 0),
    };
    apply(cx, &task, &change)
}

/// sched_getscheduler(2)
pub fn sched_getscheduler(cx: &mut Cx, pid: i32) -> Result<u32, Errno> {
    let task = target(cx, pid)?;
    let reset = if task.reset_on_fork.load(Relaxed) { policy::RESET_ON_FORK } else { 0 };
    Ok(thread(&task)?.policy() as u32 | reset)
}

/// sched_getparam(2)
pub fn sched_getparam(cx: &mut Cx, pid: i32, param: UserPtr<i32>) -> Result<(), Errno> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    let task = target(cx, pid)?;
    let priority = i32::from(thread(&task)?.rt_priority());
    param.write(cx.mm(), &priority)
}

/// sched_setattr(2)
pub fn sched_setattr(cx: &mut Cx, pid: i32, attr: UserPtr<SchedAttr>, flags: u32) -> Result<(), Errno> {
    if attr.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let given = attr.cast::<u32>().read(cx.mm())?;
    let size = if given == 0 { SCHED_ATTR_SIZE_VER0 } else { given };
    let mut a = SchedAttr::new_zeroed();
    let read = if size < SCHED_ATTR_SIZE_VER0 || size as usize > PAGE_SIZE {
        Err(Errno::E2BIG)
    } else {
        crate::support::read_extensible(cx, attr.addr(), size as usize, a.as_mut_bytes())
    };
    if read == Err(Errno::E2BIG) {
        attr.cast::<u32>().write(cx.mm(), &(size_of::<SchedAttr>() as u32))?;
    }
    read?;
    let clamps = attr_flags::UTIL_CLAMP_MIN | attr_flags::UTIL_CLAMP_MAX;
    if a.policy > i32::MAX as u32 || a.flags & clamps != 0 && size < SIZE_WITH_CLAMPS {
        return Err(Errno::EINVAL);
    }
    let task = target(cx, pid)?;
    if a.flags & !attr_flags::ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let now = thread(&task)?;
    let has = |flag: u64| a.flags & flag != 0;
    let keep_params = has(attr_flags::KEEP_PARAMS);
    let change = Change {
        policy: if has(attr_flags::KEEP_POLICY) { now.policy() as u32 } else { a.policy },
        priority: if keep_params { now.rt_priority().into() } else { a.priority },
        nice: if keep_params { now.nice().into() } else { a.nice },
        slice_ns: if keep_params { own_slice(now) } else { a.runtime },
        reset_on_fork: if has(attr_flags::KEEP_POLICY) {
            task.reset_on_fork.load(Relaxed)
        } else {
            has(attr_flags::RESET_ON_FORK)
        },
        util: util_clamp(&a, size, now)?,
    };
    apply(cx, &task, &change)
}

/// Bytes of [`SchedAttr`] with the utilisation clamps.
const SIZE_WITH_CLAMPS: u32 = 56;
/// Takes a clamp back.
const NO_CLAMP: u32 = u32::MAX;

/// The utilisation clamps asked for, if any are.
fn util_clamp(a: &SchedAttr, size: u32, now: &Thread) -> Result<Option<(u16, u16)>, Errno> {
    let (set_min, set_max) = (a.flags & attr_flags::UTIL_CLAMP_MIN != 0, a.flags & attr_flags::UTIL_CLAMP_MAX != 0);
    if size < SIZE_WITH_CLAMPS || !set_min && !set_max {
        return Ok(None);
    }
    let full = sched::policy::UTIL_FULL;
    let given = |value: u32, none: u16| match value {
        NO_CLAMP => Ok(none),
        value => u16::try_from(value).ok().filter(|v| *v <= full).ok_or(Errno::EINVAL),
    };
    let (mut min, mut max) = now.util_clamp();
    if set_min {
        min = given(a.util_min, 0)?;
    }
    if set_max {
        max = given(a.util_max, full)?;
    }
    if min > max { Err(Errno::EINVAL) } else { Ok(Some((min, max))) }
}

/// sched_getattr(2)
pub fn sched_getattr(cx: &mut Cx, pid: i32, attr: UserPtr<SchedAttr>, size: u32, flags: u32) -> Result<(), Errno> {
    if attr.is_null() || pid < 0 || size as usize > PAGE_SIZE || size < SCHED_ATTR_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let task = target(cx, pid)?;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let now = thread(&task)?;
    let known = (size as usize).min(size_of::<SchedAttr>());
    let (util_min, util_max) = now.util_clamp();
    let fair = !now.policy().is_realtime();
    let a = SchedAttr {
        size: known as u32,
        policy: now.policy() as u32,
        flags: if task.reset_on_fork.load(Relaxed) { attr_flags::RESET_ON_FORK } else { 0 },
        nice: if fair { now.nice().into() } else { 0 },
        priority: now.rt_priority().into(),
        runtime: if fair { now.slice_ns() } else { 0 },
        util_min: util_min.into(),
        util_max: util_max.into(),
        ..SchedAttr::default()
    };
    cx.mm().write_bytes(attr.addr(), a.as_bytes().get(..known).unwrap_or_default())?;
    // What the program has room for and this kernel has no value for is 0.
    cx.mm().zero_bytes(VirtAddr(attr.addr().0.wrapping_add(known as u64)), (size as usize) - known)
}

/// sched_get_priority_max(2)
pub fn sched_get_priority_max(_cx: &mut Cx, which: i32) -> Result<i32, Errno> {
    priority_range(which).map(|(_, max)| max)
}

/// sched_get_priority_min(2)
pub fn sched_get_priority_min(_cx: &mut Cx, which: i32) -> Result<i32, Errno> {
    priority_range(which).map(|(min, _)| min)
}

fn priority_range(which: i32) -> Result<(i32, i32), Errno> {
    match which as u32 {
        policy::FIFO | policy::RR => Ok((1, 99)),
        policy::NORMAL | policy::BATCH | policy::IDLE | policy::DEADLINE | policy::EXT => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// The unit in which Linux tells the slices of fair threads here.
const JIFFY_NS: u64 = 4_000_000;

/// sched_rr_get_interval(2)
pub fn sched_rr_get_interval(cx: &mut Cx, pid: i32, interval: UserPtr<Timespec>) -> Result<(), Errno> {
    let task = target(cx, pid)?;
    let now = thread(&task)?;
    let ns = match now.policy() {
        Policy::RoundRobin => sched::policy::RR_SLICE_NS,
        Policy::Fifo => 0,
        _ => now.slice_ns() / JIFFY_NS * JIFFY_NS,
    };
    interval.write(cx.mm(), &Timespec { sec: 0, nsec: ns as i64 })
}

/// getpriority(2): the highest of all meant, as 20 minus nice
pub fn getpriority(cx: &mut Cx, which: i32, who: i32) -> Result<i32, Errno> {
    let all = crate::process::priority_targets(cx, which, who)?;
    let best = all.iter().filter_map(|t| t.thread()).map(|t| 20 - i32::from(t.nice())).max();
    best.ok_or(Errno::ESRCH)
}

/// setpriority(2)
pub fn setpriority(cx: &mut Cx, which: i32, who: i32, nice: i32) -> Result<(), Errno> {
    let nice = nice.clamp(-20, 19);
    let all = crate::process::priority_targets(cx, which, who)?;
    let mut result = Err(Errno::ESRCH);
    for task in &all {
        let done = set_nice(cx, task, nice);
        if done.is_err() || result == Err(Errno::ESRCH) {
            result = done;
        }
    }
    result
}

fn set_nice(cx: &Cx, task: &Arc<Task>, nice: i32) -> Result<(), Errno> {
    let it = task.cred();
    let me = cx.cred();
    if it.uid != me.euid && it.euid != me.euid && !me.capable_in(&it.user_ns, Cap::SysNice) {
        return Err(Errno::EPERM);
    }
    let now = thread(task)?;
    if nice < i32::from(now.nice()) && !privileged(cx) && !may_nice(task, nice) {
        return Err(Errno::EACCES);
    }
    now.set_nice(nice as i8);
    task::futex::priority_changed(&(task.clone() as _));
    Ok(())
}
