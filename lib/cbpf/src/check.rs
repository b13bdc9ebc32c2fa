//! What makes a program acceptable, and the accepted program.

use crate::insn::Insn;
use crate::op::{Alu, Op, Size};
use crate::run::MEM_WORDS;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The longest program.
pub const MAX_INSNS: usize = 4096;

/// Why a program is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckError {
    /// It breaks a rule.
    Invalid,
    /// No memory for its decoded form.
    NoMemory,
}

/// What a user of the machine allows beyond the general rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// All of classic BPF; loads at or above `known_from` must be in `known` (the ancillary data of sockets).
    Socket {
        /// First offset that is not packet data.
        known_from: u32,
        /// Offsets from there on that mean something.
        known: &'static [u32],
    },
    /// The subset for call data of `size` bytes: aligned words at fixed offsets only, no remainder.
    Seccomp {
        /// Bytes of data.
        size: u32,
    },
}

/// A checked program.
#[derive(Debug)]
pub struct Program {
    ops: Box<[Op]>,
}

impl Program {
    /// Checks and decodes `insns`.
    pub fn check(insns: &[Insn], rules: Rules) -> Result<Program, CheckError> {
        if insns.is_empty() || insns.len() > MAX_INSNS {
            return Err(CheckError::Invalid);
        }
        let mut ops = Vec::new();
        ops.try_reserve_exact(insns.len()).map_err(|_| CheckError::NoMemory)?;
        for (pc, insn) in insns.iter().enumerate() {
            let op = Op::decode(*insn).ok_or(CheckError::Invalid)?;
            let left = insns.len() - pc - 1;
            if !op_is_sound(op, left) || !op_is_allowed(op, rules) {
                return Err(CheckError::Invalid);
            }
            ops.push(op);
        }
        let ends = matches!(ops.last(), Some(Op::RetK(_) | Op::RetA));
        if !ends || !memory_is_written_first(&ops)? {
            return Err(CheckError::Invalid);
        }
        Ok(Program { ops: ops.into_boxed_slice() })
    }
    /// The decoded instructions.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
    /// Number of instructions.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.ops.len()
    }
}

/// Rules on one instruction with `left` others behind it.
fn op_is_sound(op: Op, left: usize) -> bool {
    match op {
        Op::AluK(Alu::Div | Alu::Mod, k) => k != 0,
        Op::AluK(Alu::Lsh | Alu::Rsh, k) => k < 32,
        Op::LoadMem(k) | Op::LoadXMem(k) | Op::Store(k) | Op::StoreX(k) => (k as usize) < MEM_WORDS,
        Op::Jump(k) => (k as usize) < left,
        Op::BranchK(_, jt, jf, _) | Op::BranchX(_, jt, jf) => usize::from(jt.max(jf)) < left,
        _ => true,
    }
}

fn op_is_allowed(op: Op, rules: Rules) -> bool {
    match (rules, op) {
        (Rules::Socket { known_from, known }, Op::LoadAbs(_, k)) => k < known_from || known.contains(&k),
        (Rules::Seccomp { size }, Op::LoadAbs(Size::Word, k)) => k < size && k.is_multiple_of(4),
        (Rules::Seccomp { .. }, Op::LoadAbs(..) | Op::LoadInd(..) | Op::LoadXHeader(_)) => false,
        (Rules::Seccomp { .. }, Op::AluK(Alu::Mod, _) | Op::AluX(Alu::Mod)) => false,
        _ => true,
    }
}

/// On no path is a scratch word read that was not written. `reach[pc]` is what all paths to `pc` have written.
fn memory_is_written_first(ops: &[Op]) -> Result<bool, CheckError> {
    let uses = |op: &Op| matches!(op, Op::LoadMem(_) | Op::LoadXMem(_));
    if !ops.iter().any(uses) {
        return Ok(true);
    }
    let mut reach: Vec<u16> = Vec::new();
    reach.try_reserve_exact(ops.len()).map_err(|_| CheckError::NoMemory)?;
    reach.resize(ops.len(), u16::MAX);
    let mut written = 0u16;
    for (pc, op) in ops.iter().enumerate() {
        written &= reach.get(pc).copied().unwrap_or(0);
        let mut meet = |skip: usize, written: u16| {
            if let Some(r) = reach.get_mut(pc + 1 + skip) {
                *r &= written;
            }
        };
        match *op {
            Op::Store(k) | Op::StoreX(k) => written |= 1 << k,
            Op::LoadMem(k) | Op::LoadXMem(k) if written & 1 << k == 0 => return Ok(false),
            Op::Jump(k) => {
                meet(k as usize, written);
                // What follows is reached by jumps alone.
                written = u16::MAX;
            }
            Op::BranchK(_, jt, jf, _) | Op::BranchX(_, jt, jf) => {
                meet(usize::from(jt), written);
                meet(usize::from(jf), written);
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(true)
}
