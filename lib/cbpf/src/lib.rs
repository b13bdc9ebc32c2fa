//! Classic BPF: the filter machine behind seccomp(2) and SO_ATTACH_FILTER.
//!
//! A program arrives as [`Insn`]s as user space writes them. [`Program::check`] decodes each into an [`Op`] (unknown codes end
//! there), proves that every jump stays inside, that every path ends in a return and that scratch memory is written before it
//! is read ([`check`]), and keeps the decoded form for [`run`]. What a program looks at is behind [`Data`]: the call data of seccomp, a packet.
//!
//! Jumps only go forward, so a program of n instructions runs at most n steps. Nothing here allocates but the decoding.
//!
//! Sources: the kernel's documentation of classic BPF (networking/filter), linux/bpf_common.h, seccomp(2).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod check;
mod insn;
mod op;
mod run;
#[cfg(test)]
mod tests;

pub use check::{CheckError, MAX_INSNS, Program, Rules};
pub use insn::{Insn, code};
pub use op::{Alu, Cond, Op, Size};
pub use run::{Data, MEM_WORDS};
