//! Signals: sending, masks, delivery, the handler's frame and the way back.
//!
//! A signal is put into the queue of its process or thread under the process's signal lock, and one thread that wants it is
//! nudged; a signal that ends the process marks every thread at once. On its way to user mode the nudged thread takes
//! signals out ([`deliver`]) until one has a handler, whose frame it builds ([`frame`]); rt_sigreturn undoes that.
//! Sources: signal(7), sigaction(2), sigreturn(2).

pub mod altstack;
pub mod deliver;
pub mod frame;
pub mod hand;
pub mod mask;
pub mod queue;
pub mod send;
pub mod stop;

use abi::signal::{SS_DISABLE, SigSet, StackT};
use alloc::vec::Vec;

pub use deliver::{Next, force};
pub use send::{send_group, send_process, send_task};

/// The part of the signal state only the thread itself uses.
pub struct SignalView {
    /// sigaltstack(2).
    pub altstack: StackT,
    /// The mask to restore when the call that changed it for its duration is over (sigsuspend, ppoll, ...).
    pub saved_mask: Option<SigSet>,
    /// The fault that the next frame describes.
    pub trap: frame::Trap,
    /// Room for the extended state on its way to and from frames.
    pub(crate) xstate: Vec<u8>,
}

impl Default for SignalView {
    fn default() -> Self {
        SignalView {
            altstack: StackT { flags: SS_DISABLE, ..StackT::default() },
            saved_mask: None,
            trap: frame::Trap::default(),
            xstate: Vec::new(),
        }
    }
}
