//! Pipes as programs see them, on kernel buffers.

use crate::pipe::{MAX_SIZE, Pipe};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use mm::{Dst, Src};
use vfs::{PollEvents, PollTable};

fn open() -> Arc<Pipe> {
    let pipe = Pipe::new();
    pipe.add_end(true, false);
    pipe.add_end(false, true);
    pipe
}

fn write(pipe: &Pipe, bytes: &[u8]) -> Result<usize, Errno> {
    pipe.write(&mut Src::kernel(bytes), true, false)
}

fn read(pipe: &Pipe, len: usize) -> Result<usize, Errno> {
    let mut buf = alloc::vec![0; len];
    pipe.read(&mut Dst::kernel(&mut buf), true)
}

fn poll(pipe: &Pipe, read: bool) -> PollEvents {
    pipe.poll(&mut PollTable::none(), read, !read, pipe.writer_opens().wrapping_sub(1))
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let pipe = open();
    assert_eq!(write(&pipe, b"hello "), Ok(6));
    assert_eq!(write(&pipe, b"world"), Ok(5));
    assert_eq!(pipe.bytes(), 11);
    let mut buf = [0; 64];
    assert_eq!(pipe.read(&mut Dst::kernel(&mut buf), true), Ok(11));
    assert_eq!(&buf[..11], b"hello world");
}

#[test]
fn an_empty_pipe_would_block_until_its_last_writer_goes() {
    let pipe = open();
    assert_eq!(read(&pipe, 1), Err(Errno::EAGAIN));
    assert_eq!(read(&pipe, 0), Ok(0), "an empty request never waits");
    pipe.remove_end(false, true);
    assert_eq!(read(&pipe, 1), Ok(0));
    assert_eq!(poll(&pipe, true), PollEvents::HUP);
}

#[test]
fn a_full_pipe_takes_what_fits_and_then_would_block() {
    let pipe = open();
    assert_eq!(write(&pipe, &[7; 100_000]), Ok(65_536));
    assert_eq!(write(&pipe, b"x"), Err(Errno::EAGAIN));
    assert!(poll(&pipe, false).is_empty());
    assert_eq!(read(&pipe, 4096), Ok(4096));
    assert_eq!(poll(&pipe, false), PollEvents::WRITABLE);
    assert_eq!(write(&pipe, &[7; 4096]), Ok(4096));
}

#[test]
fn without_readers_writing_is_a_broken_pipe() {
    let pipe = open();
    pipe.remove_end(true, false);
    assert_eq!(write(&pipe, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&pipe, b""), Ok(0));
    assert!(poll(&pipe, false).contains(PollEvents::ERR));
}

#[test]
fn capacity_follows_f_setpipe_sz() {
    let pipe = open();
    assert_eq!(pipe.capacity(), 65_536);
    assert_eq!(pipe.set_capacity(1, false), Ok(4096));
    assert_eq!(pipe.set_capacity(5000, false), Ok(8192));
    assert_eq!(pipe.set_capacity(0, false), Ok(4096));
    assert_eq!(pipe.set_capacity(1 << 40, true), Err(Errno::EINVAL));
    assert_eq!(pipe.set_capacity(MAX_SIZE as u64, false), Ok(MAX_SIZE));
    assert_eq!(pipe.set_capacity(MAX_SIZE as u64 + 1, false), Err(Errno::EPERM));
    assert_eq!(pipe.set_capacity(MAX_SIZE as u64 + 1, true), Ok(2 * MAX_SIZE));
    assert_eq!(write(&pipe, &[0; 9000]), Ok(9000));
    assert_eq!(pipe.set_capacity(4096, false), Err(Errno::EBUSY));
}

#[test]
fn packets_keep_their_bounds() {
    let pipe = open();
    for bytes in [&b"one"[..], b"three"] {
        assert_eq!(pipe.write(&mut Src::kernel(bytes), true, true), Ok(bytes.len()));
    }
    assert_eq!(read(&pipe, 64), Ok(3));
    assert_eq!(read(&pipe, 2), Ok(2));
    assert_eq!(read(&pipe, 64), Err(Errno::EAGAIN), "the rest of a packet is lost");
}

#[test]
fn a_blocked_writer_goes_on_when_the_reader_drains() {
    sched::init_boot_cpu();
    let pipe = open();
    let theirs = pipe.clone();
    let writer = move || {
        assert_eq!(theirs.write(&mut Src::kernel(&[9; 200_000]), false, false), Ok(200_000));
        theirs.remove_end(false, true);
    };
    sched::spawn("writer", None, Box::new(writer)).unwrap().start();
    let mut total = 0;
    let mut buf = alloc::vec![0; 10_000];
    loop {
        match pipe.read(&mut Dst::kernel(&mut buf), false) {
            Ok(0) => break,
            Ok(n) => total += n,
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(total, 200_000);
}

#[test]
fn tee_shows_the_same_bytes_in_both_pipes() {
    let (from, to) = (open(), open());
    assert_eq!(from.tee(&to, 9, true), Err(Errno::EAGAIN));
    write(&from, b"hello").unwrap();
    assert_eq!(from.tee(&to, 3, true), Ok(3));
    write(&from, b" world").unwrap();
    assert_eq!(from.tee(&to, 99, true), Ok(11));
    let mut buf = [0; 64];
    assert_eq!(to.read(&mut Dst::kernel(&mut buf), true), Ok(14));
    assert_eq!(&buf[..14], b"helhello world");
    assert_eq!(from.read(&mut Dst::kernel(&mut buf), true), Ok(11));
    from.remove_end(false, true);
    assert_eq!(from.tee(&to, 9, true), Ok(0));
    to.remove_end(true, false);
    write(&from, b"").unwrap();
    let other = open();
    write(&other, b"x").unwrap();
    assert_eq!(other.tee(&to, 9, true), Err(Errno::EPIPE));
}
