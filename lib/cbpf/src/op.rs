//! Decoded instructions: what the interpreter matches on. Eight bytes each, as the encoded ones.

use crate::insn::{Insn, code::*};

/// Width of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
}

/// An operation on the accumulator.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Lsh,
    Rsh,
}

/// A comparison of the accumulator with an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Some bit in common.
    Set,
}

/// A decoded instruction. `A` is the accumulator, `X` the index register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// A = data at a fixed offset.
    LoadAbs(Size, u32),
    /// A = data at X plus an offset.
    LoadInd(Size, u32),
    /// A = constant.
    LoadImm(u32),
    /// A = scratch word.
    LoadMem(u32),
    /// A = length of the data.
    LoadLen,
    /// X = constant.
    LoadXImm(u32),
    /// X = scratch word.
    LoadXMem(u32),
    /// X = length of the data.
    LoadXLen,
    /// X = four times the low half of a byte of data (the length of an IP header).
    LoadXHeader(u32),
    /// Scratch word = A.
    Store(u32),
    /// Scratch word = X.
    StoreX(u32),
    /// A = A op constant.
    AluK(Alu, u32),
    /// A = A op X.
    AluX(Alu),
    /// A = -A.
    Neg,
    /// Skip this many instructions.
    Jump(u32),
    /// Compare A with a constant and skip.
    BranchK(Cond, u8, u8, u32),
    /// Compare A with X and skip.
    BranchX(Cond, u8, u8),
    /// The result is a constant.
    RetK(u32),
    /// The result is A.
    RetA,
    /// X = A.
    Tax,
    /// A = X.
    Txa,
}

const _: () = assert!(size_of::<Op>() == 8);

impl Op {
    /// Decodes an instruction; `None` when there is no such code.
    pub fn decode(insn: Insn) -> Option<Op> {
        let Insn { code, jt, jf, k } = insn;
        // Codes are compared whole: bits that mean nothing to a class make the code unknown.
        Some(match code & 7 {
            LD | LDX => load(code, k)?,
            ST if code == ST => Op::Store(k),
            STX if code == STX => Op::StoreX(k),
            ALU if code == ALU | NEG => Op::Neg,
            ALU => {
                let alu = arithmetic(code & 0xfff0)?;
                if code & X != 0 { Op::AluX(alu) } else { Op::AluK(alu, k) }
            }
            JMP if code == JMP | JA => Op::Jump(k),
            JMP => {
                let cond = comparison(code & 0xfff0)?;
                if code & X != 0 { Op::BranchX(cond, jt, jf) } else { Op::BranchK(cond, jt, jf, k) }
            }
            RET if code == RET | K => Op::RetK(k),
            RET if code == RET | A => Op::RetA,
            MISC if code == MISC | TAX => Op::Tax,
            MISC if code == MISC | TXA => Op::Txa,
            _ => return None,
        })
    }
}

fn load(code: u16, k: u32) -> Option<Op> {
    let size = match code & 0x18 {
        W => Size::Word,
        H => Size::Half,
        B => Size::Byte,
        _ => return None,
    };
    const LD_IMM: u16 = LD | IMM;
    const LD_MEM: u16 = LD | MEM;
    const LD_LEN: u16 = LD | LEN;
    const LDX_IMM: u16 = LDX | IMM;
    const LDX_MEM: u16 = LDX | MEM;
    const LDX_LEN: u16 = LDX | LEN;
    const LDX_MSH: u16 = LDX | B | MSH;
    Some(match code {
        LD_IMM => Op::LoadImm(k),
        LD_MEM => Op::LoadMem(k),
        LD_LEN => Op::LoadLen,
        LDX_IMM => Op::LoadXImm(k),
        LDX_MEM => Op::LoadXMem(k),
        LDX_LEN => Op::LoadXLen,
        LDX_MSH => Op::LoadXHeader(k),
        c if c & !0x18 == LD | ABS => Op::LoadAbs(size, k),
        c if c & !0x18 == LD | IND => Op::LoadInd(size, k),
        _ => return None,
    })
}

fn arithmetic(op: u16) -> Option<Alu> {
    Some(match op {
        ADD => Alu::Add,
        SUB => Alu::Sub,
        MUL => Alu::Mul,
        DIV => Alu::Div,
        MOD => Alu::Mod,
        AND => Alu::And,
        OR => Alu::Or,
        XOR => Alu::Xor,
        LSH => Alu::Lsh,
        RSH => Alu::Rsh,
        _ => return None,
    })
}

fn comparison(op: u16) -> Option<Cond> {
    Some(match op {
        JEQ => Cond::Eq,
        JGT => Cond::Gt,
        JGE => Cond::Ge,
        JSET => Cond::Set,
        _ => return None,
    })
}
