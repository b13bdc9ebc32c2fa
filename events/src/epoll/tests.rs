use super::*;
use crate::eventfd;
use abi::poll::EventfdFlags;
use alloc::vec::Vec;
use mm::io::{Dst, Src};

fn cred() -> Arc<Cred> {
    Cred::root()
}
fn event(initial: u32) -> Arc<File> {
    eventfd::create(initial, EventfdFlags::NONBLOCK, &cred())
}
fn poke(file: &Arc<File>) {
    assert_eq!(file.write(&mut Src::kernel(&1u64.to_ne_bytes()), u64::MAX), Ok(8));
}
fn drain(file: &Arc<File>) {
    assert_eq!(file.read(&mut Dst::kernel(&mut [0; 8])), Ok(8));
}
fn ctl(ep: &Arc<File>, op: i32, fd: i32, target: &Arc<File>, events: u32) -> Result<(), Errno> {
    Epoll::control(ep, op, fd, target, EpollEvent::new(events, fd as u64))
}
/// The data words of what is reported now.
fn reported(ep: &Arc<File>) -> Vec<u64> {
    let ep = ep.ops_as::<Epoll>().expect("it is an epoll");
    let mut out = Vec::new();
    ep.collect(10, |e| {
        out.push(e.data());
        true
    })
    .expect("nothing faults");
    out
}
const IN: u32 = PollEvents::IN.bits();

#[test]
fn level_triggered_items_are_reported_while_ready() {
    let (ep, ev) = (create(&cred()), event(0));
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &ev, IN), Ok(()));
    assert_eq!(reported(&ep), []);
    poke(&ev);
    assert_eq!(reported(&ep), [5]);
    assert_eq!(reported(&ep), [5]);
    drain(&ev);
    assert_eq!(reported(&ep), []);
}

#[test]
fn edge_triggered_items_are_reported_once_an_event() {
    let (ep, ev) = (create(&cred()), event(1));
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &ev, IN | EPOLLET), Ok(()));
    assert_eq!(reported(&ep), [5]);
    assert_eq!(reported(&ep), []);
    poke(&ev);
    assert_eq!(reported(&ep), [5]);
    assert_eq!(reported(&ep), []);
}

#[test]
fn oneshot_items_are_silent_until_modified() {
    let (ep, ev) = (create(&cred()), event(1));
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &ev, IN | EPOLLONESHOT), Ok(()));
    assert_eq!(reported(&ep), [5]);
    poke(&ev);
    assert_eq!(reported(&ep), []);
    assert_eq!(ctl(&ep, epoll_op::MOD, 5, &ev, IN | EPOLLONESHOT), Ok(()));
    assert_eq!(reported(&ep), [5]);
}

#[test]
fn errors_come_as_on_linux() {
    let (ep, ev) = (create(&cred()), event(0));
    assert_eq!(ctl(&ep, epoll_op::ADD, 4, &ep, IN), Err(Errno::EINVAL));
    assert_eq!(ctl(&ev, epoll_op::ADD, 4, &ep, IN), Err(Errno::EINVAL));
    assert_eq!(ctl(&ep, epoll_op::DEL, 5, &ev, IN), Err(Errno::ENOENT));
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &ev, IN), Ok(()));
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &ev, IN), Err(Errno::EEXIST));
    assert_eq!(ctl(&ep, epoll_op::ADD, 6, &ev, IN), Ok(()));
    assert_eq!(ctl(&ep, 9, 5, &ev, IN), Err(Errno::EINVAL));
    assert_eq!(ctl(&ep, epoll_op::MOD, 5, &ev, IN | EPOLLEXCLUSIVE), Err(Errno::EINVAL));
    assert_eq!(ctl(&ep, epoll_op::DEL, 5, &ev, 0), Ok(()));
}

#[test]
fn closed_files_vanish_and_their_number_can_be_used_again() {
    let ep = create(&cred());
    let gone = event(1);
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &gone, IN), Ok(()));
    drop(gone);
    assert_eq!(reported(&ep), []);
    let next = event(1);
    assert_eq!(ctl(&ep, epoll_op::ADD, 5, &next, IN), Ok(()));
    assert_eq!(reported(&ep), [5]);
    assert_eq!(ep.ops_as::<Epoll>().map(|e| e.items.lock().len()), Some(1));
}

#[test]
fn chains_may_have_five_epolls_and_no_cycle() {
    let eps: Vec<_> = (0..6).map(|_| create(&cred())).collect();
    for i in 0..4 {
        assert_eq!(ctl(&eps[i], epoll_op::ADD, 5, &eps[i + 1], IN), Ok(()), "link {i}");
    }
    assert_eq!(ctl(&eps[4], epoll_op::ADD, 5, &eps[5], IN), Err(Errno::ELOOP));
    assert_eq!(ctl(&eps[5], epoll_op::ADD, 5, &eps[0], IN), Err(Errno::ELOOP));
    assert_eq!(ctl(&eps[4], epoll_op::ADD, 5, &eps[0], IN), Err(Errno::ELOOP));
    // An event at the bottom is seen at the top.
    let ev = event(0);
    assert_eq!(ctl(&eps[4], epoll_op::ADD, 7, &ev, IN), Ok(()));
    assert_eq!(reported(&eps[0]), []);
    poke(&ev);
    assert_eq!(reported(&eps[0]), [5]);
    drain(&ev);
    assert_eq!(reported(&eps[0]), []);
}
