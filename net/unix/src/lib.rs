//! AF_UNIX: sockets between programs of one machine (unix(7)).
//!
//! [`socket`] is one socket and its place among peers, [`queue`] what waits to be received, [`stream`] and [`dgram`] move data,
//! [`connect`] makes connections, [`name`] is the address space, [`flight`] counts files in flight, [`gc`] finds sockets that only sockets in flight refer to,
//! [`list`] knows them all.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod connect;
pub mod dgram;
pub mod flight;
pub mod gc;
pub mod list;
pub mod name;
mod ops;
pub mod queue;
pub mod socket;
pub mod stream;
#[cfg(test)]
mod tests;

/// Makes the family known. Called once at boot.
pub fn init() {
    net::register_family(&ops::Unix);
}
