//! Instructions as user space writes them (`struct sock_filter`).

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insn {
    /// Class, size or operation, and addressing mode (see [`code`]).
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// The immediate operand.
    pub k: u32,
}

impl Insn {
    /// An instruction without conditional jumps.
    pub const fn new(code: u16, k: u32) -> Insn {
        Insn { code, jt: 0, jf: 0, k }
    }
    /// A conditional jump.
    pub const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
        Insn { code, jt, jf, k }
    }
}

/// The parts that are ORed to an instruction code (linux/bpf_common.h).
#[allow(missing_docs)]
pub mod code {
    // Classes.
    pub const LD: u16 = 0;
    pub const LDX: u16 = 1;
    pub const ST: u16 = 2;
    pub const STX: u16 = 3;
    pub const ALU: u16 = 4;
    pub const JMP: u16 = 5;
    pub const RET: u16 = 6;
    pub const MISC: u16 = 7;
    // Sizes of loads.
    pub const W: u16 = 0;
    pub const H: u16 = 0x08;
    pub const B: u16 = 0x10;
    // Where a load finds its operand.
    pub const IMM: u16 = 0;
    pub const ABS: u16 = 0x20;
    pub const IND: u16 = 0x40;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;
    pub const MSH: u16 = 0xa0;
    // Arithmetic.
    pub const ADD: u16 = 0;
    pub const SUB: u16 = 0x10;
    pub const MUL: u16 = 0x20;
    pub const DIV: u16 = 0x30;
    pub const OR: u16 = 0x40;
    pub const AND: u16 = 0x50;
    pub const LSH: u16 = 0x60;
    pub const RSH: u16 = 0x70;
    pub const NEG: u16 = 0x80;
    pub const MOD: u16 = 0x90;
    pub const XOR: u16 = 0xa0;
    // Jumps.
    pub const JA: u16 = 0;
    pub const JEQ: u16 = 0x10;
    pub const JGT: u16 = 0x20;
    pub const JGE: u16 = 0x30;
    pub const JSET: u16 = 0x40;
    // The second operand; of RET, the value.
    pub const K: u16 = 0;
    pub const X: u16 = 0x08;
    pub const A: u16 = 0x10;
    // Moves between the registers.
    pub const TAX: u16 = 0;
    pub const TXA: u16 = 0x80;
}
