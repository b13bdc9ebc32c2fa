//! What carries messages: a device with a queue of exchanges.
//!
//! An exchange is a request (segments the device reads) and room for its reply (segments the device writes). The device
//! answers in any order; the token names the exchange. Segments are pieces of whole frames, so file data moves between the
//! page cache and the host without a copy in the guest.

use abi::Errno;
use alloc::sync::Arc;
use machine::mem::Frame;

/// A piece of a page.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The page.
    pub frame: Frame,
    /// First byte.
    pub off: usize,
    /// Bytes; `off + len` is within the page.
    pub len: usize,
}

/// Told when an exchange is over. May run in an interrupt handler.
pub trait Completion: Send + Sync {
    /// The exchange named `token` is over; the device wrote `written` bytes.
    fn complete(&self, token: u16, written: usize);
    /// The queue has room again after [`Transport::submit`] said it had none.
    fn room(&self);
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No room in the queue now; [`Completion::room`] will be called.
    Full,
    /// The device is gone or the exchange can never fit.
    Failed,
}

/// The device's side.
pub trait Transport: Send + Sync {
    /// Most segments of one exchange, both directions together.
    fn max_segments(&self) -> usize;
    /// Starts an exchange. The segments stay referenced until it completes.
    fn submit(&self, token: u16, out: &[Segment], into: &[Segment]) -> Result<(), Refused>;
}

/// Finds the device with a mount tag and connects `completion` to it: ENOENT when there is none, EBUSY when it is in use.
pub trait Bus: Sync {
    /// See the trait.
    fn connect(&self, tag: &[u8], completion: Arc<dyn Completion>) -> Result<Arc<dyn Transport>, Errno>;
}
