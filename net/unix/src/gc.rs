//! Sockets that only sockets in flight can reach (unix(7), "Ancillary messages"; the problem and the mark-and-count idea are
//! those of Linux's net/unix/garbage.c).
//!
//! A socket's file sent over a socket is *in flight*. When every reference to it lies in inboxes that themselves belong to such
//! sockets, no program can ever receive it: it is garbage although its count is not zero. Every file of a Unix socket that goes
//! in flight is remembered weakly; when a Unix socket is closed while any is, a worker looks for garbage and empties
//! its inbox, which breaks the cycle. What is garbage stays garbage, so only the look itself must not be disturbed.
//!
//! Lock order: the sockets' inboxes (one at a time) before `FLYING`.

use crate::queue::Message;
use crate::socket::UnixSocket;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::sync::SpinLock;
use net::Socket;
use vfs::File;

/// Socket files that were sent and may still be in flight.
static FLYING: SpinLock<Vec<Weak<File>>> = SpinLock::new(Vec::new());
/// A collection is due.
static DUE: AtomicBool = AtomicBool::new(false);
/// Counts receives that took files out of an inbox: a collection that saw it change knows nothing for certain.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Messages of closed sockets, to be dropped by the worker.
static BURIED: SpinLock<Vec<VecDeque<Message>>> = SpinLock::new(Vec::new());
/// The worker is on its way or at work.
static DIGGING: AtomicBool = AtomicBool::new(false);

/// Drops the messages of a closed socket. Those with files are left to a worker: a file may be the last reference to a socket
/// whose messages hold the next, and a chain of any length must not nest on one kernel stack.
pub fn bury(mut messages: VecDeque<Message>) {
    if !messages.iter().any(Message::has_files) {
        return;
    }
    // They are in flight no more, whenever the worker comes to them.
    messages.iter_mut().for_each(Message::land);
    BURIED.lock().push(messages);
    if !DIGGING.swap(true, Ordering::AcqRel) {
        sched::defer(Box::new(dig));
    }
}

/// The worker: drops one socket's messages after the other; what their files let go of joins the queue.
pub fn dig() {
    loop {
        let next = BURIED.lock().pop();
        match next {
            Some(messages) => drop(messages),
            None => {
                DIGGING.store(false, Ordering::Release);
                // Someone may have come between the look and the store.
                if BURIED.lock().is_empty() || DIGGING.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
        sched::cond_resched();
    }
}

/// The Unix socket behind a file.
fn socket_of(file: &File) -> Option<&UnixSocket> {
    Socket::of(file).ok()?.as_any().downcast_ref::<UnixSocket>()
}

/// Remembers the sockets among files about to be sent.
pub fn note_in_flight(files: &[Arc<File>]) {
    for file in files.iter().filter(|f| socket_of(f).is_some()) {
        let weak = Arc::downgrade(file);
        let mut flying = FLYING.lock();
        if !flying.iter().any(|w| Weak::ptr_eq(w, &weak)) && flying.try_reserve(1).is_ok() {
            flying.push(weak);
        }
    }
}

/// Files are about to leave an inbox.
pub fn note_taken() {
    TAKEN.fetch_add(1, Ordering::AcqRel);
}

/// A socket was closed: something in flight may have become unreachable.
pub fn after_close() {
    if !FLYING.lock().is_empty() {
        schedule();
    }
}

fn schedule() {
    if !DUE.swap(true, Ordering::AcqRel) {
        sched::defer(Box::new(collect));
    }
}

/// One socket file in flight.
struct Node {
    file: Arc<File>,
    /// References found in the inboxes of other nodes.
    inside: usize,
    /// A program can get at it.
    live: bool,
}

/// Calls `f` with each file attached to what waits at `socket`, embryonic connections included.
fn for_each_attached(socket: &UnixSocket, mut f: impl FnMut(&Arc<File>)) {
    socket.inbox().files().for_each(&mut f);
    let embryos: Vec<_> = socket.with_link(|l| l.backlog.iter().cloned().collect());
    for end in embryos {
        end.inbox().files().for_each(&mut f);
    }
}

/// Finds and empties unreachable sockets.
pub fn collect() {
    DUE.store(false, Ordering::Release);
    let taken = TAKEN.load(Ordering::Acquire);
    let mut nodes: Vec<Node> = {
        let mut flying = FLYING.lock();
        flying.retain(|w| w.strong_count() > 0);
        flying.iter().filter_map(Weak::upgrade).map(|file| Node { file, inside: 0, live: false }).collect()
    };
    let at = |nodes: &[Node], file: &Arc<File>| nodes.iter().position(|n| Arc::ptr_eq(&n.file, file));
    let attached = |node: &Node| {
        let mut found = Vec::new();
        if let Some(socket) = socket_of(&node.file) {
            for_each_attached(socket, |f| found.push(f.clone()));
        }
        found
    };
    for i in 0..nodes.len() {
        let found = nodes.get(i).map(&attached).unwrap_or_default();
        for file in found {
            if let Some(node) = at(&nodes, &file).and_then(|to| nodes.get_mut(to)) {
                node.inside += 1;
            }
        }
    }
    // A reference besides our own and those in candidates' inboxes: a program, or an inbox a program can read.
    let mut todo: Vec<usize> = Vec::new();
    for (i, node) in nodes.iter_mut().enumerate() {
        node.live = Arc::strong_count(&node.file) > node.inside + 1;
        if node.live {
            todo.push(i);
        }
    }
    while let Some(i) = todo.pop() {
        let found = nodes.get(i).map(&attached).unwrap_or_default();
        for file in found {
            if let Some(to) = at(&nodes, &file)
                && let Some(node) = nodes.get_mut(to)
                && !core::mem::replace(&mut node.live, true)
            {
                todo.push(to);
            }
        }
    }
    if TAKEN.load(Ordering::Acquire) != taken {
        // A file that moved from an inbox to a program looks like one still in flight: look again.
        return schedule();
    }
    for node in nodes.iter().filter(|n| !n.live) {
        if let Some(socket) = socket_of(&node.file) {
            let rest = {
                let mut inbox = socket.inbox();
                let rest = inbox.take_all();
                socket.publish(&inbox);
                rest
            };
            bury(rest);
        }
    }
}
