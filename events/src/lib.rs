//! Files made of events, and waiting for many files at once: eventfd, timerfd, epoll, and the engine of poll and select.
//!
//! Everything here stands on two things of the lower floors: `FileOps::poll`, which tells what a file is ready for and to which
//! wait queues a listener must subscribe, and `sched::Listener`, which those queues call.
//! Sources: eventfd(2), timerfd_create(2), epoll(7), poll(2), select(2).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod epoll;
pub mod eventfd;
pub mod poll;
pub mod timerfd;
