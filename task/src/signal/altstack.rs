//! The alternate signal stack (sigaltstack(2)). Pure.

use abi::Errno;
use abi::signal::{SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, StackT};

/// Whether `sp` lies on the stack. An autodisarmed one is never in use while it is armed.
pub fn on_stack(alt: &StackT, sp: u64) -> bool {
    alt.flags & SS_AUTODISARM == 0 && contains(alt, sp)
}

/// Whether `sp` lies within the stack's memory.
pub fn contains(alt: &StackT, sp: u64) -> bool {
    sp > alt.sp && sp.wrapping_sub(alt.sp) <= alt.size
}

/// The state sigaltstack(2) reports for a thread with stack pointer `sp`.
pub fn describe(alt: &StackT, sp: u64) -> StackT {
    let state = match () {
        () if alt.size == 0 => SS_DISABLE,
        () if on_stack(alt, sp) => SS_ONSTACK,
        () => 0,
    };
    StackT { flags: state | alt.flags & SS_AUTODISARM, pad: 0, ..*alt }
}

/// Checks and installs `new` for a thread with stack pointer `sp`; `min` is the smallest size allowed.
pub fn change(alt: &mut StackT, new: &StackT, sp: u64, min: u64) -> Result<(), Errno> {
    if on_stack(alt, sp) {
        return Err(Errno::EPERM);
    }
    let mode = new.flags & !SS_AUTODISARM;
    if mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0 {
        return Err(Errno::EINVAL);
    }
    if mode == SS_DISABLE {
        *alt = StackT { sp: 0, flags: new.flags, pad: 0, size: 0 };
        return Ok(());
    }
    if new.size < min {
        return Err(Errno::ENOMEM);
    }
    *alt = StackT { pad: 0, ..*new };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALT: StackT = StackT { sp: 0x1000, flags: 0, pad: 0, size: 0x2000 };

    #[test]
    fn a_stack_in_use_cannot_be_changed() {
        let mut alt = ALT;
        assert_eq!(change(&mut alt, &ALT, 0x1800, 2048), Err(Errno::EPERM));
        assert_eq!(change(&mut alt, &ALT, 0x1000, 2048), Ok(()));
        assert_eq!(change(&mut alt, &StackT { size: 100, ..ALT }, 0, 2048), Err(Errno::ENOMEM));
        assert_eq!(change(&mut alt, &StackT { flags: 8, ..ALT }, 0, 2048), Err(Errno::EINVAL));
        assert_eq!(change(&mut alt, &StackT { flags: SS_DISABLE, ..ALT }, 0, 2048), Ok(()));
        assert_eq!(describe(&alt, 0).flags, SS_DISABLE);
    }

    #[test]
    fn an_autodisarmed_stack_is_never_in_use() {
        let alt = StackT { flags: SS_AUTODISARM, ..ALT };
        assert!(!on_stack(&alt, 0x1800) && on_stack(&ALT, 0x1800) && on_stack(&ALT, 0x3000));
        assert_eq!(describe(&ALT, 0x1800).flags, SS_ONSTACK);
        assert_eq!(describe(&alt, 0x1800).flags, SS_AUTODISARM);
    }
}
