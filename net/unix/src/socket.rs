//! One Unix socket: its place in the graph of peers, and its inbox.
//!
//! Data goes straight into the receiver's inbox: a sender copies from user memory under the peer's `inbox` lock, a receiver
//! copies out under its own. `held`, `charge` and `urgent` repeat the inbox's figures so that sleepers and poll need no lock.
//!
//! Lock order: `inbox` (sleeping; copies may fault under it) before `link` (spin) before the wait queues' own locks. No two
//! inboxes and no two links are ever held at once. A socket's peer is an owning reference in both directions; closing takes
//! it out.

use crate::list::Place;
use crate::name::{self, Name};
use crate::queue::{Inbox, Message};
use abi::Errno;
use abi::socket::{Ucred, kind};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use machine::sync::SpinLock;
use net::{Common, Flag, NetCx, NetNamespace, Shutdown};
use sched::{Mutex, MutexGuard, WaitError, WaitQueue};
use vfs::{Cred, PollEvents, PollTable, ProcessId};

/// Messages that may wait in a datagram inbox (`net.unix.max_dgram_qlen`).
const DGRAM_QUEUE: usize = 10;

/// Types of Unix sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Messages to anybody.
    Dgram,
    /// Messages over a connection.
    SeqPacket,
}

impl Kind {
    /// From the number socket(2) gets. `SOCK_RAW` is taken as `SOCK_DGRAM`, as on Linux.
    pub fn from_raw(raw: u32) -> Result<Kind, Errno> {
        match raw {
            kind::SOCK_STREAM => Ok(Kind::Stream),
            kind::SOCK_DGRAM | kind::SOCK_RAW => Ok(Kind::Dgram),
            kind::SOCK_SEQPACKET => Ok(Kind::SeqPacket),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        }
    }
    /// The number.
    pub fn raw(self) -> u32 {
        match self {
            Kind::Stream => kind::SOCK_STREAM,
            Kind::Dgram => kind::SOCK_DGRAM,
            Kind::SeqPacket => kind::SOCK_SEQPACKET,
        }
    }
}

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Neither connected nor listening.
    Idle,
    /// Waiting for connections.
    Listening,
    /// Connected (it stays so when the peer goes).
    Connected,
}

/// What changes rarely.
pub struct Link {
    /// The bound name.
    pub name: Option<Arc<Name>>,
    /// Phase.
    pub phase: Phase,
    /// The other end, or the default destination of datagrams.
    pub peer: Option<Arc<UnixSocket>>,
    /// Who the other end was when the connection was made.
    pub peer_cred: Option<Peer>,
    /// Who called listen(2).
    pub listener_cred: Option<Peer>,
    /// Connections not yet accepted.
    pub backlog: VecDeque<Arc<UnixSocket>>,
    /// How many may wait.
    pub backlog_max: usize,
}

const SHUT_READ: u8 = 1;
const SHUT_WRITE: u8 = 2;

/// A socket.
pub struct UnixSocket {
    /// Type.
    pub kind: Kind,
    pub(crate) common: Common,
    me: Weak<UnixSocket>,
    _place: Place,
    net: Arc<NetNamespace>,
    link: SpinLock<Link>,
    inbox: Mutex<Inbox>,
    held: AtomicUsize,
    charge: AtomicUsize,
    urgent: AtomicBool,
    shut: AtomicU8,
    closed: AtomicBool,
    /// Waiting to receive (or to accept).
    pub(crate) readers: WaitQueue,
    /// Waiting for room in this socket's inbox (or backlog).
    pub(crate) room: WaitQueue,
}

/// Who is at the other end.
#[derive(Clone)]
pub struct Peer {
    /// What SO_PEERCRED reports.
    pub ucred: Ucred,
    /// What SO_PEERPIDFD makes a pidfd for.
    pub process: Option<ProcessId>,
    /// Has the groups that SO_PEERGROUPS reports.
    pub cred: Arc<Cred>,
}

/// The caller as the other end of a connection.
pub fn peer_of(cx: &NetCx<'_>) -> Peer {
    let cred = cx.caller.cred;
    let ucred = Ucred { pid: cx.caller.jobs.pid(), uid: cred.euid, gid: cred.egid };
    Peer { ucred, process: cx.caller.jobs.process_id(), cred: cred.clone() }
}

/// The identity SCM_CREDENTIALS reports of a sender that did not say.
pub fn sender_of(cred: &Cred) -> Ucred {
    Ucred { pid: vfs::jobs().pid(), uid: cred.uid, gid: cred.gid }
}

impl UnixSocket {
    /// An unconnected socket in the running thread's network namespace.
    pub fn new(kind: Kind) -> Arc<UnixSocket> {
        UnixSocket::new_in(kind, net::ns::current())
    }
    /// An unconnected socket in this network namespace.
    pub(crate) fn new_in(kind: Kind, net: Arc<NetNamespace>) -> Arc<UnixSocket> {
        let link = Link {
            name: None,
            phase: Phase::Idle,
            peer: None,
            peer_cred: None,
            listener_cred: None,
            backlog: VecDeque::new(),
            backlog_max: 0,
        };
        Arc::new_cyclic(|me| UnixSocket {
            kind,
            common: Common::default(),
            me: me.clone(),
            _place: Place::take(me),
            net,
            link: SpinLock::new(link),
            inbox: Mutex::new(Inbox::default()),
            held: AtomicUsize::new(0),
            charge: AtomicUsize::new(0),
            urgent: AtomicBool::new(false),
            shut: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            readers: WaitQueue::new(),
            room: WaitQueue::new(),
        })
    }
    /// Two sockets connected to each other.
    pub fn pair(kind: Kind, cred: Peer) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        let (a, b) = (UnixSocket::new(kind), UnixSocket::new(kind));
        a.join(&b, Some(cred.clone()));
        b.join(&a, Some(cred));
        (a, b)
    }
    /// Makes `peer` the other end.
    pub fn join(&self, peer: &Arc<UnixSocket>, cred: Option<Peer>) {
        let mut link = self.link.lock();
        link.peer = Some(peer.clone());
        link.peer_cred = cred;
        link.phase = Phase::Connected;
    }
    /// Who sends is told along with messages.
    pub fn passes_sender(&self) -> bool {
        self.common.is(Flag::PassCred) || self.common.is(Flag::PassPidfd)
    }
    /// Its network namespace.
    pub fn net(&self) -> &Arc<NetNamespace> {
        &self.net
    }
    /// An owning reference to itself; `None` only while it is being destroyed.
    pub fn arc(&self) -> Option<Arc<UnixSocket>> {
        self.me.upgrade()
    }
    /// Runs `f` on the rarely changing part.
    pub fn with_link<R>(&self, f: impl FnOnce(&mut Link) -> R) -> R {
        f(&mut self.link.lock())
    }
    /// The other end.
    #[inline]
    pub fn peer(&self) -> Option<Arc<UnixSocket>> {
        self.link.lock().peer.clone()
    }
    /// The bound name.
    pub fn name(&self) -> Option<Arc<Name>> {
        self.link.lock().name.clone()
    }
    /// Phase.
    pub fn phase(&self) -> Phase {
        self.link.lock().phase
    }
    /// The inbox, locked.
    pub fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock()
    }
    /// Repeats the inbox's figures; call before unlocking it.
    #[inline]
    pub fn publish(&self, inbox: &Inbox) {
        self.held.store(inbox.len(), Ordering::Release);
        self.charge.store(inbox.charge(), Ordering::Release);
        self.urgent.store(inbox.is_urgent(), Ordering::Release);
    }
    /// Messages waiting.
    #[inline]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }
    /// An out-of-band byte waits.
    #[inline]
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }
    /// Memory the waiting messages hold.
    #[inline]
    pub fn charge(&self) -> usize {
        self.charge.load(Ordering::Acquire)
    }
    /// Receiving was shut down, here or by the other end's going.
    #[inline]
    pub fn is_read_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire) & SHUT_READ != 0
    }
    /// Sending was shut down.
    #[inline]
    pub fn is_write_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire) & SHUT_WRITE != 0
    }
    /// No file refers to it any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
    /// Shuts directions down and tells whoever waits.
    pub fn shut(&self, how: Shutdown) {
        let bits = if how.read { SHUT_READ } else { 0 } | if how.write { SHUT_WRITE } else { 0 };
        self.shut.fetch_or(bits, Ordering::AcqRel);
        self.readers.wake_all();
        // No data for those who wait for room: the key keeps signal-driven I/O from looking for some.
        self.room.wake_key(usize::MAX, false, PollEvents::HUP.key());
    }
    /// Whether the number of messages waiting limits `sender`, and not its buffer: it does where many may send here.
    fn is_shared(&self, sender: &UnixSocket) -> bool {
        self.kind == Kind::Dgram && !self.with_link(|l| l.peer.as_ref().is_some_and(|p| core::ptr::eq(&**p, sender)))
    }
    /// `sender` may add to this inbox.
    pub fn takes(&self, sender: &UnixSocket) -> bool {
        if self.is_shared(sender) {
            self.held() <= DGRAM_QUEUE
        } else {
            self.charge() < sender.common.sndbuf() as usize
        }
    }
    /// Whether `sender` counts as writable for poll: a quarter of its buffer used at most.
    fn is_roomy(&self, sender: &UnixSocket) -> bool {
        match self.is_shared(sender) {
            true => self.held() <= DGRAM_QUEUE,
            false => self.charge().saturating_mul(4) <= sender.common.sndbuf() as usize,
        }
    }
    /// Waits on `queue` within the socket's time limit.
    pub fn wait<R>(
        queue: &WaitQueue,
        nonblock: bool,
        deadline: Option<u64>,
        mut ready: impl FnMut() -> Option<R>,
    ) -> Result<R, Errno> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        queue.wait_deadline(deadline, ready).map_err(|e| match e {
            WaitError::TimedOut => Errno::EAGAIN,
            WaitError::Interrupted => Errno::ERESTARTSYS,
        })
    }
    /// After a receive: lets senders go on once there is room worth waking them for.
    pub fn wake_senders(&self, before: usize, inbox: &Inbox) {
        let sndbuf = self.link.lock().peer.as_ref().map_or(u32::MAX, |p| p.common.sndbuf()) as usize;
        let roomy = |charge: usize| charge.saturating_mul(4) <= sndbuf;
        let crossed = match self.kind {
            // Senders that are not the peer count messages.
            Kind::Dgram => inbox.charge() < before,
            _ => !roomy(before) && roomy(inbox.charge()),
        };
        if crossed {
            self.room.wake_key(usize::MAX, false, PollEvents::WRITABLE.key());
        }
    }

    /// Readiness for poll(2).
    pub fn readiness(&self, table: &mut PollTable) -> PollEvents {
        table.listen(&self.readers);
        let (phase, peer, waiting) = {
            let link = self.link.lock();
            (link.phase, link.peer.clone(), !link.backlog.is_empty())
        };
        let mut events = PollEvents::empty();
        events.set(PollEvents::ERR, self.common.has_error());
        let both = self.is_read_shut() && self.is_write_shut();
        events.set(PollEvents::HUP, both || self.kind != Kind::Dgram && phase == Phase::Idle);
        events.set(PollEvents::RDHUP | PollEvents::READABLE, self.is_read_shut());
        if self.held() > 0 || waiting {
            events |= PollEvents::READABLE;
        }
        events.set(PollEvents::PRI, self.is_urgent());
        if phase == Phase::Listening {
            return events;
        }
        let writable = match &peer {
            Some(peer) => {
                table.listen(&peer.room);
                peer.is_closed() || peer.is_roomy(self)
            }
            None => true,
        };
        events.set(PollEvents::WRITABLE, writable);
        events
    }

    /// The file is gone: the name is given back, the peer told, what waits dropped.
    pub fn release(&self) {
        self.closed.store(true, Ordering::Release);
        let (name, peer, backlog) = {
            let mut link = self.link.lock();
            (link.name.take(), link.peer.take(), core::mem::take(&mut link.backlog))
        };
        if let Some(name) = name {
            name::release(&self.net, &name);
        }
        let rest = {
            let mut inbox = self.inbox.lock();
            let rest = inbox.take_all();
            self.publish(&inbox);
            rest
        };
        self.shut(Shutdown { read: true, write: true });
        if let Some(peer) = peer.filter(|_| self.kind != Kind::Dgram) {
            if rest.len() > usize::from(rest.front().is_some_and(Message::is_spent)) {
                peer.common.set_error(Errno::ECONNRESET);
            }
            peer.shut(Shutdown { read: true, write: true });
        }
        for embryo in backlog {
            // Its connector learns that nobody will accept it.
            if let Some(connector) = embryo.peer() {
                connector.common.set_error(Errno::ECONNRESET);
            }
            embryo.release();
        }
        crate::gc::bury(rest);
        crate::gc::after_close();
    }

    /// Its peer, unless that is closed: a datagram socket then forgets it, others keep it to answer EPIPE.
    pub fn live_peer(&self) -> Result<Arc<UnixSocket>, Errno> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        if !peer.is_closed() {
            return Ok(peer);
        }
        if self.kind == Kind::Dgram {
            let gone = self.with_link(|l| {
                l.phase = Phase::Idle;
                l.peer.take()
            });
            drop(gone);
            return Err(Errno::ECONNREFUSED);
        }
        Err(Errno::EPIPE)
    }
}
