//! Kernel threads: the context switch, and the way out of a call that cannot go on.
//!
//! A CPU owns one counted reference to its current thread. `on_cpu` is set from before a thread is switched to until the next
//! thread on that CPU has let go of it, so that a thread whose registers are still being saved is never resumed elsewhere.

use super::cpu::{self, off};
use super::saved::{pop_callee_saved, push_callee_saved};
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
    "#, push_callee_saved!(), r#"
    push qword ptr gs:[{locks}]
    mov [rdi], rsp
    mov rsp, rsi
    pop qword ptr gs:[{locks}]
    "#, pop_callee_saved!(), r#"
    ret

    .balign 16
    .global ochre_guard
ochre_guard:                    // rdi: function, rsi: its argument, rdx: where RSP is kept meanwhile -> rax: 0, or why it was left
    "#, push_callee_saved!(), r#"
    push rdx
    mov [rdx], rsp
    mov rax, rdi
    mov rdi, rsi
    call rax
    xor eax, eax
1:  pop rdx
    mov qword ptr [rdx], 0
    "#, pop_callee_saved!(), r#"
    ret

    .global ochre_leave
ochre_leave:                    // rdi: RSP that ochre_guard has kept, rsi: why
    mov rsp, rdi
    mov rax, rsi
    cld
    sti
    jmp 1b
"#,
    locks = const off::LOCKS,
);

unsafe extern "C" {
    fn ochre_switch(save: *mut u64, load: u64);
    fn ochre_guard(f: unsafe extern "C" fn(*mut u8), body: *mut u8, keep: *mut u64) -> u64;
    fn ochre_leave(kept: u64, why: u64) -> !;
}

type Body<'a> = &'a mut dyn FnMut();

/// What a thread runs, and how it leaves when that has returned.
type Entry = (Box<dyn FnOnce() + Send>, fn() -> !);

pub struct RawThread {
    rsp: Cell<u64>,
    on_cpu: AtomicBool,
    /// Where [`WayOut::leave`] goes, 0 for nowhere.
    way_out: Cell<u64>,
    entry: SpinLock<Option<Entry>>,
    /// `None` for code that ran before it became a thread.
    stack: Option<Stack>,
    /// Where the general registers of its program are while it is in the kernel, 0 before it was in user mode.
    user_regs: AtomicU64,
}

// SAFETY: `rsp` is touched only by the CPU that holds `on_cpu`, `way_out` only by the thread itself; the rest is locked or constant.
unsafe impl Sync for RawThread {}
// SAFETY: nothing in it is bound to a CPU.
unsafe impl Send for RawThread {}

impl RawThread {
    pub fn new(entry: Box<dyn FnOnce() + Send>, end: fn() -> !) -> Result<RawThread, OutOfFrames> {
        let stack = Stack::new()?;
        // What `ochre_switch` pops: no locks, six registers and the return address; above it a zero that ends backtraces.
        let frame = stack.top() - 72;
        // SAFETY: the new stack is mapped and ours; the frame lies in its top 72 bytes.
        unsafe {
            let f = frame as *mut u64;
            for i in 0..9 {
                f.add(i).write(0);
            }
            f.add(7).write(start as *const () as u64);
        }
        Ok(RawThread {
            rsp: Cell::new(frame),
            on_cpu: AtomicBool::new(false),
            way_out: Cell::new(0),
            entry: SpinLock::new(Some((entry, end))),
            stack: Some(stack),
            user_regs: AtomicU64::new(0),
        })
    }

    pub fn adopted() -> RawThread {
        RawThread {
            rsp: Cell::new(0),
            on_cpu: AtomicBool::new(true),
            way_out: Cell::new(0),
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

/// Runs `f`; gives why it was left when [`WayOut::leave`] ended it in its midst, 0 when it has returned.
pub fn guard(mut f: Body<'_>) -> u64 {
    unsafe extern "C" fn call(body: *mut u8) {
        // SAFETY: `guard` passes its own `f`, which nobody else touches while this runs.
        unsafe { (*body.cast::<Body<'_>>())() }
    }
    let keep = with_current(|t| t.map(|t| t.raw().way_out.as_ptr()));
    let Some(keep) = keep else {
        f();
        return 0;
    };
    // SAFETY: to the compiler this is a call that returns once. `keep` lies in the thread, which lives while it runs, and is
    // not in use: guards do not nest. `call` gets what it takes. If `f` is left in its midst its frames are forgotten: nothing
    // in them is dropped, nothing outside refers to them (no code lends out parts of its stack but to calls of its own), and
    // what `f` borrowed is whole, because safe code leaves no value in pieces, and code that is not safe does so only with
    // a lock held or interrupts off, when nobody leaves.
    unsafe { ochre_guard(call, (&raw mut f).cast(), keep) }
}

/// The way out of what the running thread does, if there is one and `at` is an address on the thread's own stack. It can be
/// taken once.
pub fn take_way_out(at: u64) -> Option<WayOut> {
    with_current(|t| {
        let raw = t?.raw();
        let own = raw.stack.as_ref().is_some_and(|stack| stack.contains(at));
        let kept = if own { raw.way_out.replace(0) } else { 0 };
        (kept > at).then_some(WayOut(kept))
    })
}

/// Leads out of a [`guard`].
pub struct WayOut(u64);

impl WayOut {
    /// Ends the guarded function at once; nothing that its stack holds is dropped. The caller has seen to it that neither locks
    /// are held nor interrupts masked (but by an exception's entry, which is over now).
    pub fn leave(self, why: u64) -> ! {
        // SAFETY: `guard` keeps this stack pointer while its function runs, and its function runs: it clears it on return.
        unsafe { ochre_leave(self.0, why) }
    }
}
