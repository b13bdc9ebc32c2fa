//! Registers to typed arguments, results to the return register.

use abi::Errno;
use machine::VirtAddr;
use machine::user::Regs;
use mm::user::{UserCStr, UserPtr};

/// The six argument registers in the order of the System V system-call convention (syscall(2)).
pub struct Args<'a> {
    regs: &'a Regs,
    at: u8,
}

impl<'a> Args<'a> {
    /// Starts at the first argument.
    #[inline(always)]
    pub fn new(regs: &'a Regs) -> Args<'a> {
        Args { regs, at: 0 }
    }
    /// The next register.
    #[inline(always)]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        let at = self.at;
        self.at += 1;
        match at {
            0 => self.regs.rdi,
            1 => self.regs.rsi,
            2 => self.regs.rdx,
            3 => self.regs.r10,
            4 => self.regs.r8,
            _ => self.regs.r9,
        }
    }
}

/// A type that an argument register decodes to. Narrow types take the low half, as Linux does.
pub trait FromReg {
    /// Decodes the register.
    fn from_reg(reg: u64) -> Self;
}

macro_rules! from_reg {
    ($($t:ty),*) => { $(impl FromReg for $t {
        #[inline(always)]
        fn from_reg(reg: u64) -> $t { reg as $t }
    })* };
}
from_reg!(i32, u32, i64, u64, usize, u16);

impl FromReg for VirtAddr {
    #[inline(always)]
    fn from_reg(reg: u64) -> VirtAddr {
        VirtAddr(reg)
    }
}

impl<T> FromReg for UserPtr<T> {
    #[inline(always)]
    fn from_reg(reg: u64) -> UserPtr<T> {
        UserPtr::new(VirtAddr(reg))
    }
}

impl FromReg for UserCStr {
    #[inline(always)]
    fn from_reg(reg: u64) -> UserCStr {
        UserCStr::new(VirtAddr(reg))
    }
}

/// A call's result as the value of the return register.
pub trait IntoRet {
    /// Encodes it; errors become negative numbers.
    fn into_ret(self) -> i64;
}

macro_rules! into_ret {
    ($($t:ty),*) => { $(impl IntoRet for Result<$t, Errno> {
        #[inline(always)]
        fn into_ret(self) -> i64 {
            match self { Ok(v) => v as i64, Err(e) => e.to_ret() }
        }
    })* };
}
into_ret!(i32, u32, i64, u64, usize);

impl IntoRet for Result<(), Errno> {
    #[inline(always)]
    fn into_ret(self) -> i64 {
        match self {
            Ok(()) => 0,
            Err(e) => e.to_ret(),
        }
    }
}

impl IntoRet for Result<VirtAddr, Errno> {
    #[inline(always)]
    fn into_ret(self) -> i64 {
        match self {
            Ok(v) => v.0 as i64,
            Err(e) => e.to_ret(),
        }
    }
}

impl IntoRet for i64 {
    #[inline(always)]
    fn into_ret(self) -> i64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, FromReg, IntoRet};
    use abi::Errno;
    use machine::user::Regs;

    #[test]
    fn arguments_follow_the_calling_convention() {
        let regs = Regs { rdi: 1, rsi: 2, rdx: 3, r10: 4, r8: 5, r9: 6, ..Regs::default() };
        let mut a = Args::new(&regs);
        assert_eq!([a.next(), a.next(), a.next(), a.next(), a.next(), a.next()], [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn narrow_arguments_take_the_low_half_and_errors_become_negative() {
        assert_eq!(i32::from_reg(0xdead_0000_ffff_ffff), -1);
        assert_eq!(Err::<usize, _>(Errno::ENOENT).into_ret(), -2);
        assert_eq!(Ok::<usize, Errno>(7).into_ret(), 7);
    }
}
