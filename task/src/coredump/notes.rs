//! The notes of a core file: what each thread was doing, and what the process was. Sources: `linux/elfcore.h`, `linux/elf.h`,
//! core(5).

use crate::regset::{FpRegs, Xstate, user_regs};
use crate::{Cx, Process, Task};
use abi::ptrace::{NT_PRFPREG, NT_PRSTATUS, NT_X86_XSTATE, UserRegs};
use abi::signal::{SIGINFO_SIZE, SigInfo};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use mm::space::DumpArea;
use zerocopy::{FromZeros, Immutable, IntoBytes};

const NT_PRPSINFO: u64 = 3;
const NT_AUXV: u64 = 6;
const NT_FILE: u64 = 0x4649_4c45;
const NT_SIGINFO: u64 = 0x5349_4749;

/// Most bytes of file names in NT_FILE.
const MAX_NAMES: usize = 4 << 20;

/// `struct elf_prstatus`.
#[derive(FromZeros, IntoBytes, Immutable)]
#[repr(C)]
struct PrStatus {
    signo: i32,
    code: i32,
    errno: i32,
    cursig: u16,
    pad: u16,
    sigpend: u64,
    sighold: u64,
    /// Of the thread, its parent, its group and session.
    ids: [i32; 4],
    /// User and system time, of itself and of its children.
    times: [[u64; 2]; 4],
    regs: UserRegs,
    fpvalid: i32,
    tail: i32,
}

/// `struct elf_prpsinfo`.
#[derive(FromZeros, IntoBytes, Immutable)]
#[repr(C)]
struct PrPsInfo {
    state: u8,
    sname: u8,
    zombie: u8,
    nice: i8,
    pad: u32,
    flags: u64,
    uid: u32,
    gid: u32,
    ids: [i32; 4],
    fname: [u8; 16],
    args: [u8; 80],
}

const _: () = assert!(size_of::<PrStatus>() == 336 && size_of::<PrPsInfo>() == 136);

/// What one thread adds to a core file.
pub(crate) struct ThreadNotes {
    /// Its number, and where it is, for /proc.
    pub tid: i32,
    pub ip: u64,
    pub sp: u64,
    status: PrStatus,
    fp: Vec<u8>,
    xstate: Vec<u8>,
}

fn timeval(ns: u64) -> [u64; 2] {
    [ns / 1_000_000_000, ns / 1000 % 1_000_000]
}

fn ids(task: &Task) -> [i32; 4] {
    let process = task.process();
    let group = process.group();
    let nr = |global| task.nr_of(global);
    [task.nr(), nr(process.ppid()), nr(group.pgid()), nr(group.session().sid())]
}

/// What the calling thread was doing when `signal` ended its process.
pub(crate) fn of_thread(cx: &mut Cx, signal: i32) -> ThreadNotes {
    let selectors = cx.user.selectors();
    let task = cx.task.clone();
    let regs = user_regs(&cx.user.regs, [cx.user.fs_base, cx.user.gs_base], &selectors);
    let process = task.process();
    // The leader's times are those of all threads.
    let own = if task.tid() == process.pid() { process.threads_sum() } else { task.sum() };
    let children = process.children_sum();
    let status = PrStatus {
        signo: signal,
        cursig: signal as u16,
        sigpend: task.private_pending().0,
        sighold: task.blocked().0,
        ids: ids(&task),
        times: [own.user_ns, own.system_ns, children.user_ns, children.system_ns].map(timeval),
        regs,
        fpvalid: 1,
        ..PrStatus::new_zeroed()
    };
    let (ip, sp) = (regs.rip, regs.rsp);
    // Without memory for it the extended state is left out.
    let fp = FpRegs::get(cx).unwrap_or_default();
    let xstate = Xstate::get(cx).unwrap_or_default();
    ThreadNotes { tid: task.tid(), ip, sp, status, fp, xstate }
}

/// The notes being put together.
#[derive(Default)]
pub(crate) struct Notes {
    pub bytes: Vec<u8>,
}

impl Notes {
    fn add(&mut self, name: &str, kind: u64, body: &[u8]) {
        let aligned = |len: usize| len.next_multiple_of(4);
        let head = [name.len() as u32 + 1, body.len() as u32, kind as u32];
        let size = self.bytes.len() + 12 + aligned(name.len() + 1) + aligned(body.len());
        if self.bytes.try_reserve(size - self.bytes.len()).is_err() {
            return;
        }
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.resize(aligned(self.bytes.len() + 1), 0);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(size, 0);
    }
    /// A thread's status; its other registers follow with [`Notes::extended`].
    pub fn status(&mut self, t: &ThreadNotes) {
        self.add("CORE", NT_PRSTATUS, t.status.as_bytes());
    }
    /// A thread's extended state.
    pub fn extended(&mut self, t: &ThreadNotes) {
        if !t.fp.is_empty() {
            self.add("CORE", NT_PRFPREG, &t.fp);
        }
        if !t.xstate.is_empty() {
            self.add("LINUX", NT_X86_XSTATE, &t.xstate);
        }
    }
    /// The process and what ended it.
    pub fn process(&mut self, cx: &Cx, process: &Process, info: &SigInfo, areas: &[DumpArea]) {
        let cred = cx.cred();
        let mut ps = PrPsInfo {
            sname: b'R',
            nice: cx.task.thread().map_or(0, |t| t.nice()),
            uid: cred.user_ns.show_uid(cred.uid),
            gid: cred.user_ns.show_gid(cred.gid),
            ids: ids(&cx.task),
            fname: cx.task.comm(),
            ..PrPsInfo::new_zeroed()
        };
        ps.ids[0] = cx.task.nr_of(process.pid());
        let layout = cx.mm().layout();
        let len = (layout.arg_end.saturating_sub(layout.arg_start)).min(ps.args.len() as u64 - 1) as usize;
        let got = cx.mm().copy_in(machine::VirtAddr(layout.arg_start), ps.args.get_mut(..len).unwrap_or_default());
        ps.args.iter_mut().take(got).filter(|b| **b == 0).for_each(|b| *b = b' ');
        self.add("CORE", NT_PRPSINFO, ps.as_bytes());
        let mut whole = [0u8; SIGINFO_SIZE];
        whole.iter_mut().zip(info.as_bytes()).for_each(|(to, from)| *to = *from);
        self.add("CORE", NT_SIGINFO, &whole);
        self.add("CORE", NT_AUXV, &process.auxv());
        if let Some(files) = files(areas) {
            self.add("CORE", NT_FILE, &files);
        }
    }
}

/// NT_FILE: which files are mapped where. `None` without memory for it, or when the names are too long.
fn files(areas: &[DumpArea]) -> Option<Vec<u8>> {
    struct Names(Vec<u8>);
    impl Write for Names {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            if self.0.len() > MAX_NAMES {
                return Err(fmt::Error);
            }
            self.0.try_reserve(s.len() + 1).map_err(|_| fmt::Error)?;
            self.0.extend_from_slice(s.as_bytes());
            Ok(())
        }
    }
    let mapped = || areas.iter().filter_map(|a| Some((a, a.file.as_ref()?)));
    let mut out = Vec::new();
    out.try_reserve((2 + 3 * areas.len()) * 8).ok()?;
    out.extend_from_slice([mapped().count() as u64, machine::PAGE_SIZE as u64].as_bytes());
    let mut names = Names(Vec::new());
    for (area, (file, page)) in mapped() {
        out.extend_from_slice([area.start, area.end, *page].as_bytes());
        file.path(&mut names).ok()?;
        names.write_str("\0").ok()?;
    }
    out.try_reserve(names.0.len()).ok()?;
    out.extend_from_slice(&names.0);
    Some(out)
}
