//! Attributes of threads and processes: prctl(2), personality(2).

use crate::prctl_mm;
use abi::Errno;
use abi::prctl::*;
use abi::signal::Signal;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::VirtAddr;
use mm::UserPtr;
use task::Cx;
use task::exec::creds::{SECBIT_KEEP_CAPS, SECBIT_NO_CAP_AMBIENT_RAISE, SECBITS, SECBITS_UNPRIVILEGED};
use task::sud::{self, Sud};
use task::task::{COMM_LEN, DEFAULT_TIMER_SLACK_NS};
use task::timers;
use task::yama::Admitted;
use vfs::cred::CAP_LAST;
use vfs::{Cap, CapSet, Cred};

/// prctl(2)
pub fn prctl(cx: &mut Cx, op: i32, a2: u64, a3: u64, a4: u64, a5: u64) -> Result<i64, Errno> {
    let unused = |args: &[u64]| if args.iter().all(|a| *a == 0) { Ok(()) } else { Err(Errno::EINVAL) };
    match op {
        PR_SET_PDEATHSIG => {
            if a2 != 0 && i32::try_from(a2).ok().and_then(Signal::from_raw).is_none() {
                return Err(Errno::EINVAL);
            }
            cx.task.pdeath_signal.store(a2 as i32, Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => put_i32(cx, a2, cx.task.pdeath_signal.load(Relaxed)),
        PR_GET_DUMPABLE => Ok(cx.process().dumpable.load(Relaxed).into()),
        PR_SET_DUMPABLE => {
            let on = u8::try_from(a2).ok().filter(|v| *v <= 1).ok_or(Errno::EINVAL)?;
            cx.process().dumpable.store(on, Relaxed);
            Ok(0)
        }
        PR_SET_NAME => set_name(cx, VirtAddr(a2)),
        PR_GET_NAME => {
            let comm = cx.task.comm();
            cx.mm().write_bytes(VirtAddr(a2), &comm)?;
            Ok(0)
        }
        PR_GET_KEEPCAPS | PR_SET_KEEPCAPS | PR_GET_SECUREBITS | PR_SET_SECUREBITS => secure_bits(cx, op, a2),
        PR_GET_SECCOMP => Ok(cx.task.seccomp.mode().into()),
        PR_SET_SECCOMP => crate::seccomp::prctl_set(cx, a2, a3),
        PR_CAPBSET_READ => Ok(cx.cred().cap_bounding.has(cap_from(a2)?).into()),
        PR_CAPBSET_DROP => {
            let cap = cap_from_raw(cx, a2)?;
            change(cx, |c| c.cap_bounding = c.cap_bounding.without(cap));
            Ok(0)
        }
        PR_CAP_AMBIENT => {
            unused(&[a4, a5])?;
            ambient(cx, a2, a3)
        }
        PR_GET_TSC => put_i32(cx, a2, if cx.user.tsc_faults() { PR_TSC_SIGSEGV } else { PR_TSC_ENABLE }),
        PR_SET_TSC => {
            let faults = match a2 as i32 {
                PR_TSC_ENABLE => false,
                PR_TSC_SIGSEGV => true,
                _ => return Err(Errno::EINVAL),
            };
            cx.user.set_tsc_faults(faults);
            Ok(0)
        }
        PR_MCE_KILL => {
            unused(&[a4, a5])?;
            set_mce_kill(cx, a2, a3)
        }
        PR_MCE_KILL_GET => {
            unused(&[a2, a3, a4, a5])?;
            Ok(cx.attributes.mce_kill.into())
        }
        PR_SET_TIMERSLACK => {
            let slack = if a2 as i64 <= 0 { DEFAULT_TIMER_SLACK_NS } else { a2 };
            cx.task.timer_slack_ns.store(slack, Relaxed);
            Ok(0)
        }
        PR_GET_TIMERSLACK => Ok(cx.task.timer_slack_ns.load(Relaxed) as i64),
        PR_SET_CHILD_SUBREAPER => {
            cx.process().subreaper.store(a2 != 0, Relaxed);
            if a2 != 0 {
                mark_descendants(cx.process());
            }
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => put_i32(cx, a2, cx.process().subreaper.load(Relaxed).into()),
        PR_SET_NO_NEW_PRIVS => {
            if a2 != 1 {
                return Err(Errno::EINVAL);
            }
            unused(&[a3, a4, a5])?;
            change(cx, |c| c.no_new_privs = true);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS => {
            unused(&[a2, a3, a4, a5])?;
            Ok(cx.cred().no_new_privs.into())
        }
        PR_GET_TID_ADDRESS => {
            UserPtr::<u64>::new(VirtAddr(a2)).write(cx.mm(), &cx.clear_child_tid)?;
            Ok(0)
        }
        PR_SET_THP_DISABLE => {
            unused(&[a4, a5])?;
            if a3 & !PR_THP_DISABLE_EXCEPT_ADVISED != 0 || a2 == 0 && a3 != 0 {
                return Err(Errno::EINVAL);
            }
            cx.process().thp_disable.store(u8::from(a2 != 0) | a3 as u8, Relaxed);
            Ok(0)
        }
        PR_GET_THP_DISABLE => {
            unused(&[a2, a3, a4, a5])?;
            Ok(cx.process().thp_disable.load(Relaxed).into())
        }
        PR_GET_TIMING => Ok(PR_TIMING_STATISTICAL as i64),
        PR_SET_TIMING if a2 == PR_TIMING_STATISTICAL => Ok(0),
        PR_SET_VMA => prctl_mm::set_vma(cx, a2, a3, a4, a5),
        PR_SET_MM => prctl_mm::set_mm(cx, a2, a3, a4, a5),
        PR_SET_MDWE => {
            unused(&[a3, a4, a5])?;
            prctl_mm::set_mdwe(cx, a2)
        }
        PR_GET_MDWE => {
            unused(&[a2, a3, a4, a5])?;
            Ok(prctl_mm::get_mdwe(cx))
        }
        PR_GET_AUXV => {
            unused(&[a4, a5])?;
            prctl_mm::get_auxv(cx, a2, a3)
        }
        PR_SET_IO_FLUSHER | PR_GET_IO_FLUSHER if !cx.cred().capable(Cap::SysResource) => Err(Errno::EPERM),
        PR_SET_IO_FLUSHER => {
            unused(&[a3, a4, a5])?;
            cx.attributes.io_flusher = u8::try_from(a2).ok().filter(|v| *v <= 1).ok_or(Errno::EINVAL)? == 1;
            Ok(0)
        }
        PR_GET_IO_FLUSHER => {
            unused(&[a2, a3, a4, a5])?;
            Ok(cx.attributes.io_flusher.into())
        }
        PR_GET_SPECULATION_CTRL => {
            unused(&[a3, a4, a5])?;
            speculation(a2)
        }
        PR_SET_SPECULATION_CTRL => {
            unused(&[a4, a5])?;
            set_speculation(a2, a3)
        }
        PR_SET_PTRACER => {
            cx.process().admit(match a2 {
                0 => Admitted::None,
                any if any as i32 == -1 => Admitted::All,
                nr => Admitted::Tree(Arc::downgrade(cx.find_task(nr as i32).ok_or(Errno::EINVAL)?.process())),
            });
            Ok(0)
        }
        PR_TIMER_CREATE_RESTORE_IDS => restore_timer_ids(cx, [a2, a3, a4, a5]),
        PR_SET_SYSCALL_USER_DISPATCH => {
            let new = Sud::parse(a2, a3, a4, a5)?;
            sud::set(cx, new);
            Ok(0)
        }
        PR_FUTEX_HASH => match a2 {
            PR_FUTEX_HASH_SET_SLOTS if a4 == 0 => task::futex::set_slots(cx.mm(), a3 as u32 as usize).map(|()| 0),
            PR_FUTEX_HASH_GET_SLOTS => Ok(task::futex::slots(cx.mm()) as i64),
            _ => Err(Errno::EINVAL),
        },
        PR_RSEQ_SLICE_EXTENSION if a4 != 0 || a5 != 0 => Err(Errno::EINVAL),
        PR_RSEQ_SLICE_EXTENSION => match (a2, a3) {
            (PR_RSEQ_SLICE_EXTENSION_GET, 0) => Ok(task::rseq::slice_enabled(cx).into()),
            (PR_RSEQ_SLICE_EXTENSION_SET, 0 | PR_RSEQ_SLICE_EXT_ENABLE) => {
                task::rseq::enable_slice(cx, a3 != 0)?;
                Ok(0)
            }
            _ => Err(Errno::EINVAL),
        },
        _ => Err(Errno::EINVAL),
    }
}

/// PR_GET_SPECULATION_CTRL: this kernel has no mitigation that a thread could switch.
fn speculation(which: u64) -> Result<i64, Errno> {
    match which {
        PR_SPEC_STORE_BYPASS | PR_SPEC_INDIRECT_BRANCH => Ok(PR_SPEC_ENABLE as i64),
        PR_SPEC_L1D_FLUSH => Ok(PR_SPEC_FORCE_DISABLE as i64),
        _ => Err(Errno::ENODEV),
    }
}

fn set_speculation(which: u64, to: u64) -> Result<i64, Errno> {
    match (which, to) {
        (PR_SPEC_STORE_BYPASS, _) => Err(Errno::ENXIO),
        (PR_SPEC_INDIRECT_BRANCH, PR_SPEC_ENABLE) => Ok(0),
        (PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE) | (PR_SPEC_L1D_FLUSH, _) => {
            Err(Errno::EPERM)
        }
        (PR_SPEC_INDIRECT_BRANCH, _) => Err(Errno::ERANGE),
        _ => Err(Errno::ENODEV),
    }
}

fn put_i32(cx: &Cx, to: u64, value: i32) -> Result<i64, Errno> {
    UserPtr::<i32>::new(VirtAddr(to)).write(cx.mm(), &value)?;
    Ok(0)
}

fn change(cx: &mut Cx, f: impl FnOnce(&mut Cred)) {
    let mut cred = Cred::clone(cx.cred());
    f(&mut cred);
    cx.set_cred(Arc::new(cred));
}

/// Reads up to 15 bytes of a name.
fn set_name(cx: &mut Cx, from: VirtAddr) -> Result<i64, Errno> {
    let mut name = [0u8; COMM_LEN - 1];
    let len = cx.mm().read_cstr(from, &mut name)?.unwrap_or(name.len());
    let name = name.get(..len).unwrap_or_default();
    cx.task.set_comm(name);
    if let Some(thread) = cx.task.thread() {
        thread.set_name(name);
    }
    Ok(0)
}

fn cap_from(raw: u64) -> Result<Cap, Errno> {
    u8::try_from(raw).ok().and_then(Cap::from_raw).ok_or(Errno::EINVAL)
}

fn cap_from_raw(cx: &Cx, raw: u64) -> Result<Cap, Errno> {
    if !cx.cred().capable_here(Cap::Setpcap) {
        return Err(Errno::EPERM);
    }
    cap_from(raw)
}

fn secure_bits(cx: &mut Cx, op: i32, arg: u64) -> Result<i64, Errno> {
    const LOCKS: u32 = SECBITS << 1;
    const FREE: u32 = SECBITS_UNPRIVILEGED | SECBITS_UNPRIVILEGED << 1;
    const KEEP_CAPS_LOCKED: u32 = SECBIT_KEEP_CAPS << 1;
    let now = cx.cred().securebits;
    match op {
        PR_GET_KEEPCAPS => Ok((now & SECBIT_KEEP_CAPS != 0).into()),
        PR_GET_SECUREBITS => Ok(now.into()),
        PR_SET_KEEPCAPS => {
            if arg > 1 {
                return Err(Errno::EINVAL);
            }
            if now & KEEP_CAPS_LOCKED != 0 {
                return Err(Errno::EPERM);
            }
            let new = if arg == 1 { now | SECBIT_KEEP_CAPS } else { now & !SECBIT_KEEP_CAPS };
            change(cx, |c| c.securebits = new);
            Ok(0)
        }
        _ => {
            let new = u32::try_from(arg).ok().filter(|b| b & !(SECBITS | LOCKS) == 0).ok_or(Errno::EPERM)?;
            let locked = now & LOCKS;
            let changed = now ^ new;
            let frozen = locked >> 1 & changed != 0 || locked & !new != 0;
            let free = changed != 0 && changed & !FREE == 0;
            if frozen || !free && !cx.cred().capable_here(Cap::Setpcap) {
                return Err(Errno::EPERM);
            }
            change(cx, |c| c.securebits = new);
            Ok(0)
        }
    }
}

fn ambient(cx: &mut Cx, what: u64, raw: u64) -> Result<i64, Errno> {
    if what == PR_CAP_AMBIENT_CLEAR_ALL {
        if raw != 0 {
            return Err(Errno::EINVAL);
        }
        change(cx, |c| c.cap_ambient = CapSet::EMPTY);
        return Ok(0);
    }
    let cap = cap_from(raw)?;
    let now = cx.cred().cap_ambient;
    match what {
        PR_CAP_AMBIENT_IS_SET => Ok(now.has(cap).into()),
        PR_CAP_AMBIENT_LOWER => {
            change(cx, |c| c.cap_ambient = now.without(cap));
            Ok(0)
        }
        PR_CAP_AMBIENT_RAISE => {
            let c = cx.cred();
            let held = c.cap_permitted.has(cap) && c.cap_inheritable.has(cap);
            if !held || c.securebits & SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
                return Err(Errno::EPERM);
            }
            change(cx, |c| c.cap_ambient = CapSet(now.0 | 1 << cap as u8));
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Orphans below a process that has become a subreaper look for one on their way up.
fn mark_descendants(root: &Arc<task::Process>) {
    let _shape = task::tree::lock();
    let mut todo = root.family().children.clone();
    while let Some(p) = todo.pop() {
        if !p.under_subreaper.swap(true, Relaxed) {
            todo.extend(p.family().children.iter().cloned());
        }
    }
}

/// PR_MCE_KILL: whether the thread wants to know of broken memory before it touches it.
fn set_mce_kill(cx: &mut Cx, what: u64, policy: u64) -> Result<i64, Errno> {
    let policy = match (what, policy) {
        (PR_MCE_KILL_CLEAR, 0) => PR_MCE_KILL_DEFAULT,
        (PR_MCE_KILL_SET, PR_MCE_KILL_EARLY | PR_MCE_KILL_LATE | PR_MCE_KILL_DEFAULT) => policy,
        _ => return Err(Errno::EINVAL),
    };
    cx.attributes.mce_kill = policy as u8;
    Ok(0)
}

/// personality(2)
pub fn personality(cx: &mut Cx, persona: u32) -> Result<i64, Errno> {
    let old = cx.task.personality.load(Relaxed);
    if persona != u32::MAX {
        cx.task.personality.store(persona, Relaxed);
    }
    Ok(old.into())
}

const _: () = assert!(CAP_LAST < 64);

/// Whether timer_create(2) takes the number it finds in its result.
fn restore_timer_ids(cx: &Cx, args: [u64; 4]) -> Result<i64, Errno> {
    let [what, 0, 0, 0] = args else { return Err(Errno::EINVAL) };
    let set = |f: &dyn Fn(&timers::Timers) -> i64| timers::with(cx.process(), f).ok_or(Errno::EINVAL);
    match what {
        0 | 1 => set(&|t| {
            t.restore_ids.store(what == 1, Relaxed);
            0
        }),
        2 => set(&|t| t.restore_ids.load(Relaxed).into()),
        _ => Err(Errno::EINVAL),
    }
}
