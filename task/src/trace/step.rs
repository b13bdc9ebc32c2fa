//! Single-stepping by the trap flag. The flag may be the tracer's (`State::forced_tf`) or the program's own; the tracer is shown
//! and sets only the program's.

use super::{State, Stop};
use crate::{Cx, Task, entry};
use abi::Errno;
use machine::VirtAddr;
use machine::user::Regs;
use mm::Mm;

/// The trap flag.
const TF: u64 = 0x100;
/// Flags a tracer may set: CF PF AF ZF SF TF DF OF NT RF AC.
const SETTABLE: u64 = 0x5_4dd5;

/// The flags as the tracer sees them.
pub fn shown_flags(flags: u64, forced: bool) -> u64 {
    if forced { flags & !TF } else { flags }
}

/// The tracer sets the flags.
pub fn set_flags(regs: &mut Regs, forced_tf: &mut bool, value: u64) {
    let mut value = value;
    if value & TF != 0 {
        *forced_tf = false;
    } else if *forced_tf {
        value |= TF;
    }
    regs.eflags = regs.eflags & !SETTABLE | value & SETTABLE;
}

/// The tracee is to trap after one instruction. `pops_flags`: that instruction loads the flags itself.
pub(super) fn enable(task: &Task, stop: &mut Stop, forced_tf: &mut bool, pops_flags: bool) {
    task.entry.set(entry::STEP);
    let had = stop.regs.eflags & TF != 0;
    stop.regs.eflags |= TF;
    if pops_flags {
        *forced_tf = false;
    } else if !had {
        *forced_tf = true;
    }
}

/// It is not to trap any more.
pub(super) fn disable(task: &Task, regs: Option<&mut Regs>, forced_tf: &mut bool) {
    task.entry.clear(entry::STEP);
    if core::mem::take(forced_tf)
        && let Some(regs) = regs
    {
        regs.eflags &= !TF;
    }
}

/// The same for the calling thread, on its way into a handler.
pub(super) fn disable_own(cx: &mut Cx) {
    let task = cx.task.clone();
    let Some(trace) = task.trace() else { return };
    let State { forced_tf, .. } = &mut *trace.lock();
    disable(&task, Some(&mut cx.user.regs), forced_tf);
}

/// Whether the instruction at `rip` loads the flags (POPF, IRET), so that the trap flag after it is its own doing.
pub(super) fn loads_flags(mm: &Mm, rip: u64) -> Result<bool, Errno> {
    let mut code = [0u8; 15];
    let got = mm.copy_in(VirtAddr(rip), &mut code);
    Ok(opcode_loads_flags(code.get(..got).unwrap_or_default()))
}

fn opcode_loads_flags(code: &[u8]) -> bool {
    let prefix = |b: &u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f);
    matches!(code.iter().find(|b| !prefix(b)), Some(0x9d | 0xcf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popf_and_iret_are_found_behind_prefixes() {
        assert!(opcode_loads_flags(&[0x9d]) && opcode_loads_flags(&[0x66, 0x9d]) && opcode_loads_flags(&[0x48, 0xcf]));
        assert!(!opcode_loads_flags(&[0x90, 0x9d]) && !opcode_loads_flags(&[]));
    }

    #[test]
    fn the_tracers_trap_flag_is_hidden_and_survives() {
        let (mut regs, mut forced) = (Regs { eflags: 0x302, ..Regs::default() }, true);
        assert_eq!(shown_flags(regs.eflags, forced), 0x202);
        set_flags(&mut regs, &mut forced, 0x202);
        assert_eq!((regs.eflags, forced), (0x302, true));
        set_flags(&mut regs, &mut forced, 0x302);
        assert_eq!((regs.eflags, forced), (0x302, false));
    }
}
