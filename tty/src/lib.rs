//! Terminals.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod ldisc;
pub mod termios;
