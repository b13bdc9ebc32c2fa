//! One mounted share: its connection, options, and the inodes that are in use, found by the server's identity of files.
//!
//! Lock order: `nodes` and `recent` are leaves; nothing is sent or dropped while they are held (dropping a fid may send).

use crate::client::{Client, Fid, Patience};
use crate::content::Content;
use crate::node::Node;
use crate::options::{Cache, Options};
use crate::wire::{Attr as WireAttr, GETATTR_ALL, Qid, reply, request};
use abi::Errno;
use alloc::sync::{Arc, Weak};
use core::fmt;
use hashbrown::HashMap;
use machine::sync::{Once, SpinLock};
use vfs::{StatFs, SuperBlock, SuperOps};

/// Open fids kept for files that were read lately. The server holds a host file descriptor for each.
const RECENT: usize = 64;

/// See the module's head comment.
pub struct Session {
    client: Arc<Client>,
    options: Options,
    root: Once<Arc<Fid>>,
    sb: SpinLock<Weak<SuperBlock>>,
    nodes: SpinLock<HashMap<(u8, u64), Weak<Node>>>,
    recent: SpinLock<Recent>,
}

struct Recent {
    fids: [Option<Arc<Fid>>; RECENT],
    next: usize,
}

impl Session {
    /// A session without a root yet.
    pub fn new(client: Arc<Client>, options: Options) -> Arc<Session> {
        Arc::new(Session {
            client,
            options,
            root: Once::new(),
            sb: SpinLock::new(Weak::new()),
            nodes: SpinLock::new(HashMap::new()),
            recent: SpinLock::new(Recent { fids: [const { None }; RECENT], next: 0 }),
        })
    }
    /// The connection.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }
    /// What the server said stays true.
    pub fn trusting(&self) -> bool {
        self.options.cache == Cache::Loose
    }
    /// Ties the session to its instance and root; called once.
    pub fn bind(&self, sb: &Arc<SuperBlock>, root: Arc<Fid>) {
        *self.sb.lock() = Arc::downgrade(sb);
        let _ = self.root.set(root);
    }
    /// The instance; EIO after it is gone.
    pub fn sb(&self) -> Result<Arc<SuperBlock>, Errno> {
        self.sb.lock().upgrade().ok_or(Errno::EIO)
    }

    /// Keeps an open fid for a while.
    pub fn keep(&self, fid: Arc<Fid>) {
        let mut recent = self.recent.lock();
        let next = recent.next;
        recent.next = (next + 1) % RECENT;
        let old = recent.fids.get_mut(next).and_then(|slot| slot.replace(fid));
        drop(recent);
        drop(old);
    }

    /// Asks for a file's attributes.
    pub fn getattr(&self, fid: &Fid) -> Result<WireAttr, Errno> {
        self.client.call(request::getattr(fid.id(), GETATTR_ALL), Patience::Killable, |body| Ok(reply::attr(body)?))
    }

    /// The inode of the file that a walk has just reached: the one in use, or a new one.
    pub fn node(self: &Arc<Self>, fid: Fid) -> Result<Arc<Node>, Errno> {
        let attr = self.getattr(&fid)?;
        let key = key(&attr.qid);
        let known = self.nodes.lock().get(&key).and_then(Weak::upgrade);
        if let Some(node) = known.filter(|node| node.accepts(&attr)) {
            if !self.trusting() {
                node.content().set_fid(fid);
                node.take_attr(&attr);
            }
            return Ok(node);
        }
        let content = Arc::new(Content::new(self.clone(), attr.qid, fid));
        let node = Arc::new(Node::new(&self.sb()?, content, &attr));
        let mut nodes = self.nodes.lock();
        nodes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // Another thread may have been quicker: its inode is the one then.
        if let Some(other) = nodes.get(&key).and_then(Weak::upgrade).filter(|other| other.accepts(&attr)) {
            drop(nodes);
            return Ok(other);
        }
        let old = nodes.insert(key, Arc::downgrade(&node));
        drop(nodes);
        drop(old);
        Ok(node)
    }
    /// An inode is gone.
    pub fn forget(&self, node: &Node) {
        let mut nodes = self.nodes.lock();
        let key = key(node.content().qid());
        // By now the entry may be of a newer inode of the same file.
        if nodes.get(&key).is_some_and(|entry| core::ptr::eq(entry.as_ptr(), node)) {
            nodes.remove(&key);
        }
    }
}

fn key(qid: &Qid) -> (u8, u64) {
    (qid.kind, qid.path)
}

/// The instance's operations.
pub struct Share(pub Arc<Session>);

impl SuperOps for Share {
    fn statfs(&self) -> Result<StatFs, Errno> {
        let root = self.0.root.get().ok_or(Errno::EIO)?;
        let s = self.0.client.call(request::statfs(root.id()), Patience::Killable, |body| Ok(reply::statfs(body)?))?;
        Ok(StatFs {
            magic: u64::from(s.kind),
            bsize: s.bsize,
            blocks: s.blocks,
            bfree: s.bfree,
            bavail: s.bavail,
            files: s.files,
            ffree: s.ffree,
            namelen: s.namelen,
        })
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.0.options.show(out)
    }
    fn sync(&self) -> Result<(), Errno> {
        // Written pages go to the server at once (see `file`), except those written through mappings.
        let nodes: alloc::vec::Vec<_> = self.0.nodes.lock().values().filter_map(Weak::upgrade).collect();
        nodes.iter().try_for_each(|node| node.write_back())
    }
}
