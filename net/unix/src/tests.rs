//! Sockets as programs see them, on kernel buffers.

use crate::gc;
use crate::name::Target;
use crate::socket::{Kind, Peer, UnixSocket};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::socket::family::AF_UNIX;
use abi::socket::{MsgFlags, Ucred};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use net::{Control, Flag, NetCx, RecvMsg, SendMsg, Shutdown, SockAddr, Socket, SocketOps};
use tmpfs::testing::World;
use vfs::{AnonInode, Cred, Dst, File, PollEvents, PollTable, Src};

fn me() -> Peer {
    Peer { ucred: Ucred { pid: 7, uid: 1, gid: 2 }, process: None, cred: Cred::root() }
}

fn send_full(s: &UnixSocket, bytes: &[u8], files: Vec<Arc<File>>, flags: MsgFlags) -> Result<usize, Errno> {
    let cred = Cred::root();
    let control = Control { files, ..Control::default() };
    let flags = flags | MsgFlags::DONTWAIT;
    s.send(&mut SendMsg { src: &mut Src::kernel(bytes), addr: None, control, flags, cred: &cred, cx: None })
}

fn send(s: &UnixSocket, bytes: &[u8]) -> Result<usize, Errno> {
    send_full(s, bytes, Vec::new(), MsgFlags::empty())
}

struct Got {
    bytes: Vec<u8>,
    n: usize,
    files: Vec<Arc<File>>,
    creds: Option<Ucred>,
    flags: MsgFlags,
    from: Option<SockAddr>,
}

fn recv_full(s: &UnixSocket, len: usize, flags: MsgFlags) -> Result<Got, Errno> {
    let mut buf = alloc::vec![0; len];
    let mut dst = Dst::kernel(&mut buf);
    let mut msg = RecvMsg::plain(&mut dst, flags | MsgFlags::DONTWAIT);
    msg.wants_addr = true;
    let n = s.recv(&mut msg)?;
    let RecvMsg { control, out_flags, addr, .. } = msg;
    let done = dst.done();
    buf.truncate(done);
    Ok(Got { bytes: buf, n, files: control.files, creds: control.creds, flags: out_flags, from: addr })
}

fn recv(s: &UnixSocket, len: usize) -> Result<Vec<u8>, Errno> {
    recv_full(s, len, MsgFlags::empty()).map(|g| g.bytes)
}

fn poll(s: &UnixSocket) -> PollEvents {
    s.readiness(&mut PollTable::none())
}

fn file(s: &Arc<UnixSocket>) -> Arc<File> {
    let fs = vfs::anon::sockfs();
    let place = fs.place(Arc::new(AnonInode::new(fs.sb(), 0o140777)), b"socket", true);
    File::new(place, Socket::new(s.clone()), OpenFlags::RDWR, Cred::root())
}

#[test]
fn a_stream_forgets_the_bounds_of_writes() {
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    send(&a, b"hello ").unwrap();
    send(&a, b"world").unwrap();
    assert_eq!(b.readable_bytes(), Ok(11));
    assert_eq!(recv(&b, 3).unwrap(), b"hel");
    assert_eq!(recv_full(&b, 4, MsgFlags::PEEK).unwrap().bytes, b"lo w");
    assert_eq!(recv(&b, 99).unwrap(), b"lo world");
    assert_eq!(recv(&b, 99), Err(Errno::EAGAIN));
    let big: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
    assert_eq!(send(&a, &big), Ok(50_000));
    assert_eq!(recv(&b, 60_000).unwrap(), big);
}

#[test]
fn messages_keep_their_bounds_and_are_cut() {
    for kind in [Kind::Dgram, Kind::SeqPacket] {
        let (a, b) = UnixSocket::pair(kind, me());
        send(&a, b"first").unwrap();
        send(&a, b"second").unwrap();
        send(&a, b"").unwrap();
        let got = recv_full(&b, 3, MsgFlags::empty()).unwrap();
        assert_eq!((&got.bytes[..], got.n, got.flags.contains(MsgFlags::TRUNC)), (&b"fir"[..], 3, true));
        assert_eq!(recv_full(&b, 3, MsgFlags::PEEK | MsgFlags::TRUNC).unwrap().n, 6);
        assert_eq!(recv(&b, 99).unwrap(), b"second");
        assert_eq!(recv(&b, 99).unwrap(), b"", "an empty message is one");
        assert_eq!(recv(&b, 99), Err(Errno::EAGAIN));
        assert_eq!(send(&a, &[0; 300_000]), Err(Errno::EMSGSIZE));
    }
}

#[test]
fn a_full_peer_would_block_and_poll_says_so() {
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    assert!(poll(&a).contains(PollEvents::WRITABLE));
    let sent = send(&a, &[1; 1 << 20]).unwrap();
    assert!((200_000..220_000).contains(&sent), "{sent}");
    assert_eq!(send(&a, b"x"), Err(Errno::EAGAIN));
    assert!(!poll(&a).intersects(PollEvents::WRITABLE));
    let mut got = 0;
    while got < sent {
        got += recv(&b, 65_536).unwrap().len();
    }
    assert_eq!(got, sent);
    assert!(poll(&a).contains(PollEvents::WRITABLE));
}

#[test]
fn shutdown_and_close_are_ends_for_the_peer() {
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    send(&a, b"last").unwrap();
    a.shutdown(Shutdown { read: false, write: true }).unwrap();
    assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
    assert_eq!(recv(&b, 9).unwrap(), b"last");
    assert_eq!(recv(&b, 9).unwrap(), b"");
    assert!(poll(&b).contains(PollEvents::RDHUP) && !poll(&b).contains(PollEvents::HUP));
    send(&b, b"unread").unwrap();
    a.release();
    assert!(poll(&b).contains(PollEvents::HUP));
    assert_eq!(recv(&b, 9), Err(Errno::ECONNRESET), "what was sent got lost");
    assert_eq!(recv(&b, 9).unwrap(), b"");
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
}

#[test]
fn files_arrive_with_their_bytes_and_bound_a_receive() {
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    let passed = file(&UnixSocket::new(Kind::Stream));
    send(&a, b"one").unwrap();
    send_full(&a, b"two", alloc::vec![passed.clone()], MsgFlags::empty()).unwrap();
    send(&a, b"three").unwrap();
    let got = recv_full(&b, 99, MsgFlags::empty()).unwrap();
    assert_eq!((&got.bytes[..], got.files.len()), (&b"onetwo"[..], 1));
    assert!(Arc::ptr_eq(&got.files[0], &passed));
    assert_eq!(recv(&b, 99).unwrap(), b"three");
}

#[test]
fn an_out_of_band_byte_bounds_receives() {
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    let passed = file(&UnixSocket::new(Kind::Stream));
    assert_eq!(recv_full(&b, 1, MsgFlags::OOB).err(), Some(Errno::EINVAL));
    send_full(&a, b"one!", alloc::vec![], MsgFlags::OOB).unwrap();
    send(&a, b"two").unwrap();
    assert!(poll(&b).contains(PollEvents::PRI));
    assert_eq!(recv_full(&b, 1, MsgFlags::OOB).unwrap().bytes, b"!");
    assert!(!poll(&b).contains(PollEvents::PRI));
    assert_eq!(recv(&b, 9).unwrap(), b"one", "stops where the byte was");
    assert_eq!(recv(&b, 9).unwrap(), b"two");
    send_full(&a, b"!", alloc::vec![passed], MsgFlags::OOB).unwrap();
    send(&a, b"three").unwrap();
    let got = recv_full(&b, 9, MsgFlags::empty()).unwrap();
    assert_eq!((&got.bytes[..], got.files.len()), (&b"three"[..], 0), "the byte is passed by, with what came along");
}

#[test]
fn credentials_come_when_asked_for() {
    let (a, b) = UnixSocket::pair(Kind::Dgram, me());
    b.common().set(Flag::PassCred, true);
    send(&a, b"x").unwrap();
    assert_eq!(recv_full(&b, 9, MsgFlags::empty()).unwrap().creds, Some(Ucred { pid: 0, uid: 0, gid: 0 }));
}

fn with_cx<R>(w: &World, f: impl FnOnce(&NetCx<'_>) -> R) -> R {
    w.with_caller(|caller| f(&NetCx { caller: *caller, fs: &w.fs, kernel: false }))
}

fn path(text: &[u8]) -> SockAddr {
    SockAddr::of(AF_UNIX, text)
}

#[test]
fn connections_by_path_follow_the_errors_of_the_manual_page() {
    let w = World::new();
    with_cx(&w, |cx| {
        let server = UnixSocket::new(Kind::Stream);
        let client = UnixSocket::new(Kind::Stream);
        assert_eq!(server.listen(1, cx), Err(Errno::EINVAL), "no name yet");
        assert_eq!(client.connect(&path(b"/s"), true, cx), Err(Errno::ENOENT));
        server.bind(&path(b"/s\0"), cx).unwrap();
        assert_eq!(w.lstat("/s").unwrap().mode & 0o170000, 0o140000);
        assert_eq!(UnixSocket::new(Kind::Stream).bind(&path(b"/s"), cx), Err(Errno::EADDRINUSE));
        assert_eq!(server.bind(&path(b"/t"), cx), Err(Errno::EINVAL));
        assert_eq!(client.connect(&path(b"/s"), true, cx), Err(Errno::ECONNREFUSED), "not listening");
        server.listen(0, cx).unwrap();
        assert_eq!(UnixSocket::new(Kind::Dgram).connect(&path(b"/s"), true, cx), Err(Errno::EPROTOTYPE));
        assert_eq!(server.accept(true).err(), Some(Errno::EAGAIN));
        client.connect(&path(b"/s"), true, cx).unwrap();
        assert_eq!(client.connect(&path(b"/s"), true, cx), Err(Errno::EISCONN));
        assert_eq!(UnixSocket::new(Kind::Stream).connect(&path(b"/s"), true, cx), Err(Errno::EAGAIN), "backlog full");
        assert!(poll(&server).contains(PollEvents::READABLE));
        send(&client, b"early").unwrap();
        let end = server.do_accept(true).unwrap();
        assert_eq!(recv(&end, 9).unwrap(), b"early");
        assert_eq!(end.local_addr(), Ok(path(b"/s\0")));
        assert_eq!(client.peer_addr(), Ok(path(b"/s\0")));
        assert_eq!(client.local_addr(), Ok(path(b"")));
        server.release();
        assert_eq!(UnixSocket::new(Kind::Stream).connect(&path(b"/s"), true, cx), Err(Errno::ECONNREFUSED));
    });
}

#[test]
fn datagrams_carry_the_senders_name() {
    let w = World::new();
    with_cx(&w, |cx| {
        let (a, b) = (UnixSocket::new(Kind::Dgram), UnixSocket::new(Kind::Dgram));
        a.bind(&path(b"\0dgram-a"), cx).unwrap();
        b.bind(&path(b""), cx).unwrap();
        assert_eq!(b.local_addr().unwrap().len(), 8, "autobind gives five digits");
        assert_eq!(send(&b, b"x"), Err(Errno::ENOTCONN));
        b.connect(&path(b"\0dgram-a"), true, cx).unwrap();
        send(&b, b"ping").unwrap();
        let got = recv_full(&a, 9, MsgFlags::empty()).unwrap();
        assert_eq!(got.from, Some(b.local_addr().unwrap()));
        a.release();
        assert_eq!(send(&b, b"x"), Err(Errno::ECONNREFUSED));
        assert!(
            crate::connect::find(&Target::Abstract(b"dgram-a"), Kind::Dgram, net::NetNamespace::first(), cx).is_err(),
            "the name is free again"
        );
    });
}

#[test]
fn a_blocked_sender_goes_on_when_the_peer_receives() {
    sched::init_boot_cpu();
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    let sender = move || {
        let cred = Cred::root();
        let bytes = alloc::vec![3; 700_000];
        let mut msg = SendMsg {
            src: &mut Src::kernel(&bytes),
            addr: None,
            control: Control::default(),
            flags: MsgFlags::empty(),
            cred: &cred,
            cx: None,
        };
        assert_eq!(a.send(&mut msg), Ok(700_000));
        a.release();
    };
    sched::spawn("sender", None, Box::new(sender)).unwrap().start();
    let mut buf = alloc::vec![0; 700_001];
    let mut dst = Dst::kernel(&mut buf);
    assert_eq!(b.recv(&mut RecvMsg::plain(&mut dst, MsgFlags::WAITALL)), Ok(700_000));
}

#[test]
fn cycles_in_flight_are_collected_and_reachable_ones_are_not() {
    sched::init_boot_cpu();
    let (a, b) = UnixSocket::pair(Kind::Stream, me());
    let (weak_a, weak_b) = (Arc::downgrade(&a), Arc::downgrade(&b));
    let (fa, fb) = (file(&a), file(&b));
    send_full(&a, b"x", alloc::vec![fa.clone(), fb.clone()], MsgFlags::empty()).unwrap();
    drop((a, b));
    gc::collect();
    drop(fa);
    gc::collect();
    let b = weak_b.upgrade().expect("still open");
    assert_eq!(b.held(), 1, "a program can still receive the files");
    drop(b);
    drop(fb);
    gc::collect();
    settle(|| weak_a.upgrade().is_none() && weak_b.upgrade().is_none());
}

/// Does the worker's part until `done`: another test's worker may be at it too.
fn settle(done: impl Fn() -> bool) {
    for _ in 0..1000 {
        gc::dig();
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("never dropped");
}

#[test]
fn a_long_chain_of_sockets_in_flight_does_not_nest() {
    sched::init_boot_cpu();
    let mut next = file(&UnixSocket::new(Kind::Stream));
    let last = Arc::downgrade(&next);
    for _ in 0..5000 {
        let (a, b) = UnixSocket::pair(Kind::Stream, me());
        send_full(&a, b"x", alloc::vec![next], MsgFlags::empty()).unwrap();
        next = file(&b);
    }
    drop(next);
    settle(|| last.upgrade().is_none());
}
