//! Names, figures and switches of the system.

use abi::Errno;
use abi::signal::Signal;
use machine::{PAGE_SIZE, VirtAddr, power};
use mm::io::Dst;
use mm::{UserCStr, UserPtr};
use task::ns::uts::{self, UtsName};
use task::{Cx, tree};
use vfs::Cap;
use vfs::ns::Namespace;
use zerocopy::{Immutable, IntoBytes};

/// uname(2)
pub fn uname(cx: &mut Cx, buf: UserPtr<UtsName>) -> Result<(), Errno> {
    let names = cx.ns().uts.names();
    buf.write(cx.mm(), &names)
}

fn read_name(cx: &Cx, name: VirtAddr, len: i32) -> Result<([u8; uts::MAX_NAME], usize), Errno> {
    if !cx.cred().capable_in(&cx.ns().uts.owner(), Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len).ok().filter(|l| *l <= uts::MAX_NAME).ok_or(Errno::EINVAL)?;
    let mut bytes = [0; uts::MAX_NAME];
    cx.mm().read_bytes(name, bytes.get_mut(..len).unwrap_or_default())?;
    Ok((bytes, len))
}

/// sethostname(2)
pub fn sethostname(cx: &mut Cx, name: VirtAddr, len: i32) -> Result<(), Errno> {
    let (bytes, len) = read_name(cx, name, len)?;
    cx.ns().uts.set_hostname(bytes.get(..len).unwrap_or_default())
}

/// setdomainname(2)
pub fn setdomainname(cx: &mut Cx, name: VirtAddr, len: i32) -> Result<(), Errno> {
    let (bytes, len) = read_name(cx, name, len)?;
    cx.ns().uts.set_domainname(bytes.get(..len).unwrap_or_default())
}

/// `struct sysinfo`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    totalram: u64,
    freeram: u64,
    sharedram: u64,
    bufferram: u64,
    totalswap: u64,
    freeswap: u64,
    procs: u16,
    pad: [u16; 3],
    totalhigh: u64,
    freehigh: u64,
    mem_unit: u32,
    pad2: u32,
}

const _: () = assert!(size_of::<SysInfo>() == 112);

/// sysinfo(2)
pub fn sysinfo(cx: &mut Cx, info: UserPtr<SysInfo>) -> Result<(), Errno> {
    /// Bits after the point in `loads`.
    const SHIFT: u32 = 16;
    let memory = mm::frames::stats();
    let page = PAGE_SIZE as u64;
    let all = SysInfo {
        uptime: sched::now().saturating_add_signed(cx.ns().time.boottime_ns()).div_ceil(1_000_000_000) as i64,
        loads: sched::load_average().map(|l| l << (SHIFT - sched::load::LOAD_SHIFT)),
        totalram: memory.total * page,
        freeram: memory.free * page,
        sharedram: memory.shmem * page,
        bufferram: 0,
        totalswap: 0,
        freeswap: 0,
        procs: tree::lock().task_count().min(usize::from(u16::MAX)) as u16,
        pad: [0; 3],
        totalhigh: 0,
        freehigh: 0,
        mem_unit: 1,
        pad2: 0,
    };
    info.write(cx.mm(), &all)
}

/// getcpu(2)
pub fn getcpu(cx: &mut Cx, cpu: UserPtr<u32>, node: UserPtr<u32>, _unused: VirtAddr) -> Result<(), Errno> {
    cpu.write_opt(cx.mm(), &machine::cpu::this().0)?;
    node.write_opt(cx.mm(), &0)
}

/// getrandom(2)
pub fn getrandom(cx: &mut Cx, buf: VirtAddr, len: usize, flags: u32) -> Result<usize, Errno> {
    const NONBLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0 || flags & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as usize & !(PAGE_SIZE - 1));
    let mm = cx.mm().clone();
    let mut dst = Dst::user(&mm, buf, len);
    let mut chunk = [0u8; 256];
    while dst.remaining() > 0 {
        let n = dst.remaining().min(chunk.len());
        let part = chunk.get_mut(..n).unwrap_or_default();
        random::fill(part);
        // A fault after some bytes ends the call with what was copied.
        if dst.put(part)? < n {
            break;
        }
        if dst.done() % PAGE_SIZE == 0 {
            sched::cond_resched();
            if cx.task.work.any() {
                break;
            }
        }
    }
    Ok(dst.done())
}

/// reboot(2)
pub fn reboot(cx: &mut Cx, magic1: u32, magic2: u32, op: u32, arg: UserCStr) -> Result<(), Errno> {
    const MAGIC1: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const RESTART2: u32 = 0xa1b2_c3d4;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    let pid_ns = cx.task.pid_ns().clone();
    if !cx.cred().capable_in(&pid_ns.owner(), Cap::SysBoot) {
        return Err(Errno::EPERM);
    }
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    if pid_ns.level() > 0 {
        // What ends is the namespace; who watches its first process learns which way.
        let signal = match op {
            RESTART | RESTART2 => Signal::HUP,
            HALT | POWER_OFF => Signal::INT,
            _ => return Err(Errno::EINVAL),
        };
        pid_ns.reboot(signal);
        cx.end_thread(0);
        return Ok(());
    }
    match op {
        RESTART => power::reboot(),
        RESTART2 => {
            // The text would go to the firmware, which there is none of.
            arg.read_string(cx.mm(), 255, Errno::EINVAL)?;
            power::reboot()
        }
        HALT | POWER_OFF => power::off(),
        // No keyboard has the keys.
        CAD_ON | CAD_OFF => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// rseq_slice_yield(2): the way into the call has given up the CPU; this tells whether a grant was open.
pub fn rseq_slice_yield(cx: &mut Cx) -> Result<i32, Errno> {
    Ok(task::rseq::take_yielded(cx).into())
}

/// rseq(2)
pub fn rseq(cx: &mut Cx, area: VirtAddr, len: u32, flags: u32, signature: u32) -> Result<(), Errno> {
    task::rseq::register(cx, area.0, len, flags, signature)
}
