//! The registers that entries, traps and switches keep on a stack, as pieces of assembly: one order for who pushes and who pops.

/// Saves the registers that a function gives back as it found them.
macro_rules! push_callee_saved {
    () => {
        "push rbp\n push rbx\n push r12\n push r13\n push r14\n push r15"
    };
}

/// Takes them back.
macro_rules! pop_callee_saved {
    () => {
        "pop r15\n pop r14\n pop r13\n pop r12\n pop rbx\n pop rbp"
    };
}

/// Saves what `Regs` and `KernelFrame` have below RAX.
macro_rules! push_upper {
    () => {
        "push r8\n push r9\n push r10\n push r11\n push rbx\n push rbp\n push r12\n push r13\n push r14\n push r15"
    };
}

/// Saves all, below the vector: the stack pointer then points to a `KernelFrame`.
macro_rules! push_all {
    () => {
        concat!("push rdi\n push rsi\n push rdx\n push rcx\n push rax\n ", push_upper!())
    };
}

/// Takes all back.
macro_rules! pop_all {
    () => {
        concat!(
            "pop r15\n pop r14\n pop r13\n pop r12\n pop rbp\n pop rbx\n pop r11\n pop r10\n pop r9\n pop r8\n ",
            "pop rax\n pop rcx\n pop rdx\n pop rsi\n pop rdi"
        )
    };
}

pub(super) use {pop_all, pop_callee_saved, push_all, push_callee_saved, push_upper};
