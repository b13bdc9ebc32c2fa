//! The interpreter.

use crate::check::Program;
use crate::op::{Alu, Cond, Op, Size};

/// Words of scratch memory.
pub const MEM_WORDS: usize = 16;

/// What a program looks at.
pub trait Data {
    /// The value at `offset`; `None` when there is none, which ends the program.
    fn load(&self, size: Size, offset: u32) -> Option<u32>;
    /// Its length.
    fn len(&self) -> u32;
    /// It has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Program {
    /// Runs the program; a load outside of the data and a division by zero give 0.
    #[inline]
    pub fn run(&self, data: &impl Data) -> u32 {
        self.try_run(data).unwrap_or(0)
    }

    /// Runs the program; `None` when a load found nothing.
    ///
    /// With data that answer only for what is known beforehand this tells whether the result depends on the rest.
    pub fn try_run(&self, data: &impl Data) -> Option<u32> {
        let mut a = 0u32;
        let mut x = 0u32;
        let mut mem = [0u32; MEM_WORDS];
        let mut rest = self.ops();
        // The checks say that no jump leaves the program and that it ends with a return; the two `?` on `rest` never fail.
        loop {
            let (op, after) = rest.split_first()?;
            rest = after;
            match *op {
                Op::LoadAbs(size, k) => a = data.load(size, k)?,
                Op::LoadInd(size, k) => a = data.load(size, x.wrapping_add(k))?,
                Op::LoadImm(k) => a = k,
                Op::LoadMem(k) => a = word(&mem, k),
                Op::LoadLen => a = data.len(),
                Op::LoadXImm(k) => x = k,
                Op::LoadXMem(k) => x = word(&mem, k),
                Op::LoadXLen => x = data.len(),
                Op::LoadXHeader(k) => x = (data.load(Size::Byte, k)? & 15) * 4,
                Op::Store(k) => *word_mut(&mut mem, k) = a,
                Op::StoreX(k) => *word_mut(&mut mem, k) = x,
                Op::AluK(op, k) => match arithmetic(op, a, k) {
                    Some(v) => a = v,
                    None => return Some(0),
                },
                Op::AluX(op) => match arithmetic(op, a, x) {
                    Some(v) => a = v,
                    None => return Some(0),
                },
                Op::Neg => a = a.wrapping_neg(),
                Op::Jump(k) => rest = rest.get(k as usize..)?,
                Op::BranchK(cond, jt, jf, k) => rest = rest.get(branch(cond, a, k, jt, jf)..)?,
                Op::BranchX(cond, jt, jf) => rest = rest.get(branch(cond, a, x, jt, jf)..)?,
                Op::RetK(k) => return Some(k),
                Op::RetA => return Some(a),
                Op::Tax => x = a,
                Op::Txa => a = x,
            }
        }
    }
}

#[inline(always)]
fn word(mem: &[u32; MEM_WORDS], k: u32) -> u32 {
    mem[k as usize % MEM_WORDS]
}

#[inline(always)]
fn word_mut(mem: &mut [u32; MEM_WORDS], k: u32) -> &mut u32 {
    &mut mem[k as usize % MEM_WORDS]
}

/// `None` for a division by zero.
#[inline(always)]
fn arithmetic(op: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match op {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        Alu::Div => a.checked_div(b)?,
        Alu::Mod => a.checked_rem(b)?,
        Alu::And => a & b,
        Alu::Or => a | b,
        Alu::Xor => a ^ b,
        // The count is taken modulo the width, as the processor does.
        Alu::Lsh => a.wrapping_shl(b),
        Alu::Rsh => a.wrapping_shr(b),
    })
}

#[inline(always)]
fn branch(cond: Cond, a: u32, b: u32, jt: u8, jf: u8) -> usize {
    let holds = match cond {
        Cond::Eq => a == b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Set => a & b != 0,
    };
    usize::from(if holds { jt } else { jf })
}
