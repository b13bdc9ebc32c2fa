//! Kernel threads: the context switch.
//!
//! A CPU owns one counted reference to its current thread. `on_cpu` is set from before a thread is switched to until the next
//! thread on that CPU has let go of it, so that a thread whose registers are still being saved is never resumed elsewhere.

use super::cpu;
use super::stack::{self, Stack};
use crate::mem::OutOfFrames;
use crate::sync::SpinLock;
use crate::thread::KernelThread;
use crate::user::Regs;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::arch::global_asm;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

global_asm!(
    r#"
    .section .text.switch, "ax"
    .balign 16
    .global ochre_switch
ochre_switch:                   // rdi: where to save RSP, rsi: RSP to load
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
"#
);

unsafe extern "C" {
    fn ochre_switch(save: *mut u64, load: u64);
}

/// What a thread runs, and how it leaves when that has returned.
type Entry = (Box<dyn FnOnce() + Send>, fn() -> !);

pub struct RawThread {
    rsp: Cell<u64>,
    on_cpu: AtomicBool,
    entry: SpinLock<Option<Entry>>,
    /// `None` for code that ran before it became a thread.
    stack: Option<Stack>,
    /// Where the general registers of its program are while it is in the kernel, 0 before it was in user mode.
    user_regs: AtomicU64,
}

// SAFETY: `rsp` is touched only by the CPU that holds `on_cpu`; the rest is locked or constant.
unsafe impl Sync for RawThread {}
// SAFETY: nothing in it is bound to a CPU.
unsafe impl Send for RawThread {}

impl RawThread {
    pub fn new(entry: Box<dyn FnOnce() + Send>, end: fn() -> !) -> Result<RawThread, OutOfFrames> {
        let stack = Stack::new()?;
        // What `ochre_switch` pops: six registers and the return address; above it a zero that ends backtraces.
        let frame = stack.top() - 64;
        // SAFETY: the new stack is mapped and ours; the frame lies in its top 64 bytes.
        unsafe {
            let f = frame as *mut u64;
            for i in 0..8 {
                f.add(i).write(0);
            }
            f.add(6).write(start as *const () as u64);
        }
        Ok(RawThread {
            rsp: Cell::new(frame),
            on_cpu: AtomicBool::new(false),
            entry: SpinLock::new(Some((entry, end))),
            stack: Some(stack),
            user_regs: AtomicU64::new(0),
        })
    }

    pub fn adopted() -> RawThread {
        RawThread {
            rsp: Cell::new(0),
            on_cpu: AtomicBool::new(true),
            entry: SpinLock::new(None),
            stack: None,
            user_regs: AtomicU64::new(0),
        }
    }
}

impl RawThread {
    /// What the registers of its program were when it last entered the kernel; `None` if it was never in user mode.
    pub fn user_regs(&self) -> Option<Regs> {
        const WORDS: usize = size_of::<Regs>() / 8;
        let at = self.user_regs.load(Ordering::Relaxed);
        let top = self.stack.as_ref()?.top();
        if !at.is_multiple_of(8) || at < top - stack::SIZE || at > top - size_of::<Regs>() as u64 {
            return None;
        }
        let mut words = [0u64; WORDS];
        for (word, i) in words.iter_mut().zip(0..) {
            // SAFETY: inside the stack, which is mapped as long as this record lives. The thread itself may write there meanwhile:
            // the loads are atomic, so that each gives some value that was there.
            *word = unsafe { AtomicU64::from_ptr((at as *mut u64).add(i)) }.load(Ordering::Relaxed);
        }
        // SAFETY: `Regs` is that many words without padding, and any value is a valid one.
        Some(unsafe { core::mem::transmute::<[u64; WORDS], Regs>(words) })
    }
}

/// The thread that runs on `cpu`, this one, keeps the registers of its program here from now on.
#[inline]
pub fn note_user_regs(cpu: &cpu::Cpu, regs: *const Regs) {
    // SAFETY: the CPU owns a reference to its current thread; there is one, for it enters user mode.
    if let Some(thread) = unsafe { cpu.current.get().as_ref() } {
        thread.raw().user_regs.store(regs as u64, Ordering::Relaxed);
    }
}

/// First code of a new thread.
extern "C" fn start() -> ! {
    let_go();
    let entry = with_current(|t| t.and_then(|t| t.raw().entry.lock().take()));
    super::x86::sti();
    let Some((entry, end)) = entry else { panic!("a kernel thread without an entry function") };
    entry();
    end()
}

pub fn set_current(thread: Arc<KernelThread>) {
    let old = cpu::current().current.replace(Arc::into_raw(thread));
    assert!(old.is_null(), "this CPU runs a thread already");
}

#[inline]
pub fn with_current<R>(f: impl FnOnce(Option<&Arc<KernelThread>>) -> R) -> R {
    let p = cpu::current().current.get();
    if p.is_null() {
        return f(None);
    }
    // SAFETY: the CPU owns a reference as long as the thread is current, and `f` runs on that thread.
    let t = ManuallyDrop::new(unsafe { Arc::from_raw(p) });
    f(Some(&t))
}

/// The next thread's first act: the previous one is saved, others may run it.
#[inline]
fn let_go() {
    let p = cpu::current().previous.replace(core::ptr::null());
    if !p.is_null() {
        // SAFETY: `switch_to` moved the CPU's reference here.
        let t = unsafe { Arc::from_raw(p) };
        t.raw().on_cpu.store(false, Ordering::Release);
    }
}

pub fn switch_to(next: Arc<KernelThread>) {
    let irq = crate::cpu::IrqOff::new();
    let cpu = cpu::current();
    let prev = cpu.current.get();
    if prev == Arc::as_ptr(&next) {
        return;
    }
    assert!(!prev.is_null(), "switch_to before adopt");
    let to = Arc::into_raw(next);
    cpu.current.set(to);
    cpu.previous.set(prev);
    // SAFETY: the CPU's reference keeps it alive.
    let to = unsafe { (*to).raw() };
    // Before `prev` can be let go of: another CPU may load what is saved here.
    super::fpu::leave(cpu);
    while to.on_cpu.swap(true, Ordering::Acquire) {
        while to.on_cpu.load(Ordering::Relaxed) {
            cpu::relax();
        }
    }
    // SAFETY: `on_cpu` gives this CPU alone the right to `next`'s saved context; `prev` is kept alive by `previous` until the
    // next thread has let go of it, and its own frames stay on its stack.
    unsafe { ochre_switch((*prev).raw().rsp.as_ptr(), to.rsp.get()) };
    let_go();
    drop(irq);
}
