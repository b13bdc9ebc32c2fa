//! The host implementation: enough of the machine to run the upper floors' unit tests under plain `cargo test`.
//!
//! Physical memory is one array of pages; address spaces are maps from page number to frame; kernel threads are host
//! threads that run one at a time by hand-over; time is the host's monotonic clock.

pub mod aspace;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod debug;
pub mod entropy;
pub mod irq;
pub mod mem;
pub mod panic;
pub mod power;
pub mod thread;
pub mod time;
pub mod user;
pub mod vdso;
pub mod virtio;
