//! The client against a server in the same process, which keeps files in memory and answers each request at once. A switch
//! makes it lie, to show that no reply can do more than fail a request.

use crate::options;
use crate::transport::{Bus, Completion, Refused, Segment, Transport};
use crate::wire::{Qid, kind, lock, request::qid_bytes};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;
use tmpfs::testing::World;
use vfs::{DirSink, FileType, MntFlags, Mount, SbFlags};

/// What the server keeps of a file.
#[derive(Clone, Default)]
struct Object {
    mode: u32,
    data: Vec<u8>,
    children: BTreeMap<Vec<u8>, u64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    nlink: u64,
    version: u32,
}

/// What a fid stands for.
#[derive(Clone)]
enum Handle {
    Object(u64),
    XattrRead(Vec<u8>),
    XattrWrite(u64, Vec<u8>, Vec<u8>),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<u64, Object>,
    fids: BTreeMap<u32, Handle>,
    next: u64,
}

/// The server. `lie` is the number of the damage done to each reply, 0 for none.
struct Server {
    state: SpinLock<State>,
    completion: SpinLock<Option<Arc<dyn Completion>>>,
    lie: AtomicU32,
    requests: AtomicU32,
}

/// Reads request fields.
struct Args<'a>(&'a [u8]);

impl<'a> Args<'a> {
    fn int(&mut self, len: usize) -> u64 {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head.iter().rev().fold(0, |value, b| value << 8 | u64::from(*b))
    }
    fn fid(&mut self) -> u32 {
        self.int(4) as u32
    }
    fn text(&mut self) -> &'a [u8] {
        let len = self.int(2) as usize;
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }
}

impl State {
    fn object(&self, fid: u32) -> Result<u64, u32> {
        match self.fids.get(&fid) {
            Some(Handle::Object(id)) => Ok(*id),
            _ => Err(9),
        }
    }
    fn qid(&self, id: u64) -> Qid {
        let object = &self.objects[&id];
        let kind = match object.mode & 0o170000 {
            0o040000 => 0x80,
            0o120000 => 0x02,
            _ => 0,
        };
        Qid { kind, version: object.version, path: id }
    }
    fn add(&mut self, dir: u64, name: &[u8], mode: u32, data: &[u8]) -> Result<u64, u32> {
        if self.objects[&dir].children.contains_key(name) {
            return Err(17);
        }
        self.next += 1;
        let id = self.next;
        let nlink = if mode & 0o170000 == 0o040000 { 2 } else { 1 };
        self.objects.insert(id, Object { mode, data: data.to_vec(), nlink, ..Object::default() });
        self.objects.get_mut(&dir).unwrap().children.insert(name.to_vec(), id);
        Ok(id)
    }

    /// The body of the reply, or an errno.
    fn answer(&mut self, request: u8, args: &mut Args<'_>) -> Result<Vec<u8>, u32> {
        let qid = |state: &State, id: u64| qid_bytes(&state.qid(id)).to_vec();
        Ok(match request {
            kind::TVERSION => {
                let size = args.int(4) as u32;
                [&size.to_le_bytes()[..], b"\x08\09P2000.L"].concat()
            }
            kind::TATTACH => {
                self.fids.insert(args.fid(), Handle::Object(0));
                qid(self, 0)
            }
            kind::TWALK => {
                let (fid, new) = (args.fid(), args.fid());
                let mut id = self.object(fid)?;
                let mut qids = Vec::new();
                let count = args.int(2);
                for _ in 0..count {
                    match self.objects[&id].children.get(args.text()) {
                        Some(child) => id = *child,
                        None if qids.is_empty() => return Err(2),
                        None => break,
                    }
                    qids.extend(qid(self, id));
                }
                if qids.len() == 13 * count as usize {
                    self.fids.insert(new, Handle::Object(id));
                }
                [&((qids.len() / 13) as u16).to_le_bytes()[..], &qids].concat()
            }
            kind::TGETATTR => {
                let id = self.object(args.fid())?;
                let object = &self.objects[&id];
                let mut out = 0x3fffu64.to_le_bytes().to_vec();
                out.extend(qid(self, id));
                out.extend(object.mode.to_le_bytes());
                out.extend([0; 8]);
                for value in [object.nlink, 0, object.data.len() as u64, 4096, 8] {
                    out.extend(value.to_le_bytes());
                }
                for value in [1u64, 2, 3, 4, 5, 6, 7, 8, 0, 0] {
                    out.extend(value.to_le_bytes());
                }
                out
            }
            kind::TSETATTR => {
                let id = self.object(args.fid())?;
                let (valid, mode) = (args.int(4), args.int(4) as u32);
                args.int(8);
                let size = args.int(8);
                let object = self.objects.get_mut(&id).unwrap();
                if valid & 1 != 0 {
                    object.mode = object.mode & !0o7777 | mode;
                }
                if valid & 8 != 0 {
                    object.data.resize(size as usize, 0);
                    object.version += 1;
                }
                Vec::new()
            }
            kind::TLOPEN => {
                let id = self.object(args.fid())?;
                [qid(self, id), vec![0; 4]].concat()
            }
            kind::TLCREATE => {
                let fid = args.fid();
                let dir = self.object(fid)?;
                let name = args.text();
                args.int(4);
                let id = self.add(dir, name, 0o100000 | args.int(4) as u32, b"")?;
                self.fids.insert(fid, Handle::Object(id));
                [qid(self, id), vec![0; 4]].concat()
            }
            kind::TMKDIR => {
                let dir = self.object(args.fid())?;
                let name = args.text();
                let id = self.add(dir, name, 0o040000 | args.int(4) as u32, b"")?;
                qid(self, id)
            }
            kind::TSYMLINK => {
                let dir = self.object(args.fid())?;
                let id = self.add(dir, args.text(), 0o120777, args.text())?;
                qid(self, id)
            }
            kind::TREADLINK => {
                let id = self.object(args.fid())?;
                let target = &self.objects[&id].data;
                [&(target.len() as u16).to_le_bytes()[..], target].concat()
            }
            kind::TLINK => {
                let (dir, file) = (self.object(args.fid())?, self.object(args.fid())?);
                self.objects.get_mut(&dir).unwrap().children.insert(args.text().to_vec(), file);
                self.objects.get_mut(&file).unwrap().nlink += 1;
                Vec::new()
            }
            kind::TUNLINKAT => {
                let dir = self.object(args.fid())?;
                let id = self.objects.get_mut(&dir).unwrap().children.remove(args.text()).ok_or(2u32)?;
                self.objects.get_mut(&id).unwrap().nlink -= 1;
                Vec::new()
            }
            kind::TRENAMEAT => {
                let (from, old) = (self.object(args.fid())?, args.text());
                let (to, new) = (self.object(args.fid())?, args.text());
                let id = self.objects.get_mut(&from).unwrap().children.remove(old).ok_or(2u32)?;
                self.objects.get_mut(&to).unwrap().children.insert(new.to_vec(), id);
                Vec::new()
            }
            kind::TREAD => {
                let fid = args.fid();
                let (offset, count) = (args.int(8) as usize, args.int(4) as usize);
                let data = match self.fids.get(&fid).ok_or(9u32)? {
                    Handle::Object(id) => &self.objects[id].data,
                    Handle::XattrRead(value) => value,
                    Handle::XattrWrite(..) => return Err(22),
                };
                let end = data.len().min(offset + count);
                let part = data.get(offset..end).unwrap_or_default();
                [&(part.len() as u32).to_le_bytes()[..], part].concat()
            }
            kind::TWRITE => {
                let fid = args.fid();
                let (offset, count) = (args.int(8) as usize, args.int(4) as usize);
                let bytes = &args.0[..count];
                let data = match self.fids.get_mut(&fid).ok_or(9u32)? {
                    Handle::Object(id) => {
                        let object = self.objects.get_mut(id).unwrap();
                        object.version += 1;
                        &mut object.data
                    }
                    Handle::XattrWrite(_, _, value) => value,
                    Handle::XattrRead(_) => return Err(22),
                };
                data.resize(data.len().max(offset + count), 0);
                data[offset..offset + count].copy_from_slice(bytes);
                (count as u32).to_le_bytes().to_vec()
            }
            kind::TREADDIR => {
                let id = self.object(args.fid())?;
                let (offset, count) = (args.int(8), args.int(4) as usize);
                let mut out = Vec::new();
                for (i, (name, child)) in self.objects[&id].children.iter().enumerate().skip(offset as usize) {
                    if out.len() + 24 + name.len() > count.min(100) {
                        break;
                    }
                    out.extend(qid(self, *child));
                    out.extend((i as u64 + 1).to_le_bytes());
                    out.push((self.objects[child].mode >> 12) as u8);
                    out.extend((name.len() as u16).to_le_bytes());
                    out.extend(name);
                }
                [&(out.len() as u32).to_le_bytes()[..], &out].concat()
            }
            kind::TXATTRWALK => {
                let id = self.object(args.fid())?;
                let (new, name) = (args.fid(), args.text());
                let xattrs = &self.objects[&id].xattrs;
                let value = if name.is_empty() {
                    xattrs.keys().flat_map(|k| k.iter().copied().chain([0])).collect()
                } else {
                    xattrs.get(name).ok_or(61u32)?.clone()
                };
                let size = value.len() as u64;
                self.fids.insert(new, Handle::XattrRead(value));
                size.to_le_bytes().to_vec()
            }
            kind::TXATTRCREATE => {
                let fid = args.fid();
                let id = self.object(fid)?;
                self.fids.insert(fid, Handle::XattrWrite(id, args.text().to_vec(), Vec::new()));
                Vec::new()
            }
            kind::TCLUNK => {
                if let Handle::XattrWrite(id, name, value) = self.fids.remove(&args.fid()).ok_or(9u32)? {
                    let xattrs = &mut self.objects.get_mut(&id).unwrap().xattrs;
                    if value.is_empty() { drop(xattrs.remove(&name)) } else { drop(xattrs.insert(name, value)) }
                }
                Vec::new()
            }
            kind::TSTATFS => vec![0; 60],
            kind::TFSYNC => Vec::new(),
            kind::TLOCK => vec![lock::SUCCESS],
            _ => return Err(95),
        })
    }
}

fn gather(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        let mut part = vec![0; segment.len];
        segment.frame.read(segment.off, &mut part);
        bytes.extend(part);
    }
    bytes
}

fn scatter(segments: &[Segment], mut bytes: &[u8]) -> usize {
    let mut written = 0;
    for segment in segments {
        let (part, rest) = bytes.split_at(bytes.len().min(segment.len));
        segment.frame.write(segment.off, part);
        written += part.len();
        bytes = rest;
    }
    written
}

impl Transport for Server {
    fn max_segments(&self) -> usize {
        128
    }
    fn submit(&self, token: u16, out: &[Segment], into: &[Segment]) -> Result<(), Refused> {
        let message = gather(out);
        let mut args = Args(&message);
        let (size, request, tag) = (args.int(4) as usize, args.int(1) as u8, args.int(2) as u16);
        assert_eq!(size, message.len(), "size field of request {request}");
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let (kind, body) = match self.state.lock().answer(request, &mut args) {
            Ok(body) => (request + 1, body),
            Err(errno) => (kind::RLERROR, errno.to_le_bytes().to_vec()),
        };
        let mut reply = ((7 + body.len()) as u32).to_le_bytes().to_vec();
        reply.push(kind);
        reply.extend(tag.to_le_bytes());
        reply.extend(body);
        let lie = self.lie.load(Ordering::Relaxed);
        let len = reply.len();
        match lie {
            0 => {}
            1 => reply.truncate(len / 2),
            2 => reply.iter_mut().skip(4).for_each(|b| *b = 0xff),
            3 => reply.iter_mut().skip(7).for_each(|b| *b = 0xff),
            4 => reply.clear(),
            // Pseudo-random damage: one byte a reply.
            seed => {
                let at = (count.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7) as usize % len;
                reply[at] ^= (seed ^ count) as u8 | 1;
            }
        }
        let written = scatter(into, &reply);
        let completion = self.completion.lock().clone().expect("connected");
        completion.complete(token, written);
        Ok(())
    }
}

struct OneServer(Arc<Server>);

impl Bus for OneServer {
    fn connect(&self, tag: &[u8], completion: Arc<dyn Completion>) -> Result<Arc<dyn Transport>, Errno> {
        if tag != b"share" {
            return Err(Errno::ENOENT);
        }
        *self.0.completion.lock() = Some(completion);
        Ok(self.0.clone())
    }
}

/// A share with a few files, mounted at `/m`.
fn world(options: &str) -> (World, Arc<Server>) {
    let mut state = State::default();
    state.objects.insert(0, Object { mode: 0o040755, nlink: 2, ..Object::default() });
    let dir = state.add(0, b"dir", 0o040755, b"").unwrap();
    for i in 0..10u8 {
        state.add(dir, &[b'a' + i], 0o100644, b"x").unwrap();
    }
    state.add(0, b"hello", 0o100644, b"hello, world").unwrap();
    state.add(0, b"big", 0o100644, &(0..300_000u32).map(|i| (i / 7) as u8).collect::<Vec<_>>()).unwrap();
    state.add(0, b"link", 0o120777, b"dir/c").unwrap();
    let server = Arc::new(Server {
        state: SpinLock::new(state),
        completion: SpinLock::new(None),
        lie: AtomicU32::new(0),
        requests: AtomicU32::new(0),
    });
    let world = World::new();
    world.mkdir("/m").unwrap();
    let options = options::tests::parse(options.as_bytes()).unwrap();
    let root = crate::mount::mount(&OneServer(server.clone()), b"share", SbFlags::empty(), options).unwrap();
    let mount = Mount::new(root.sb().root_dentry(&root), b"share", MntFlags::RELATIME);
    vfs::namespace::attach(&mount, &world.lookup("/m").unwrap(), &world.fs.dirs().ns).unwrap();
    (world, server)
}

fn list(w: &World, path: &str) -> Result<String, Errno> {
    struct Names(Vec<String>);
    impl DirSink for Names {
        fn entry(&mut self, _: u64, _: u64, _: FileType, name: &[u8]) -> bool {
            self.0.push(String::from_utf8_lossy(name).to_string());
            true
        }
    }
    let mut names = Names(Vec::new());
    w.open(path, 0o200000, 0)?.readdir(&mut names)?;
    Ok(names.0.join(" "))
}

const MODES: [&str; 3] = ["cache=none", "cache=mmap", "cache=loose"];

#[test]
fn files_links_and_listings_are_read() {
    for mode in MODES {
        let (w, server) = world(mode);
        assert_eq!(w.read("/m/hello").unwrap(), b"hello, world");
        assert_eq!(w.read("/m/link").unwrap(), b"x");
        let big = server.state.lock().objects.values().find(|o| o.data.len() == 300_000).unwrap().data.clone();
        assert_eq!(w.read("/m/big").unwrap(), big);
        assert_eq!(list(&w, "/m/dir").unwrap(), ". .. a b c d e f g h i j");
        assert_eq!(w.read("/m/nothing").err(), Some(Errno::ENOENT));
        let attr = w.lstat("/m/hello").unwrap();
        assert_eq!((attr.size, attr.mode, attr.mtime.sec, attr.mtime.nsec), (12, 0o100644, 3, 4));
    }
}

#[test]
fn a_trusting_mount_asks_once() {
    let (w, server) = world("cache=loose");
    for _ in 0..2 {
        w.read("/m/hello").unwrap();
        w.read("/m/nothing").unwrap_err();
        list(&w, "/m/dir").unwrap();
    }
    let before = server.requests.load(Ordering::Relaxed);
    w.read("/m/hello").unwrap();
    w.read("/m/nothing").unwrap_err();
    w.lstat("/m/dir").unwrap();
    assert_eq!(server.requests.load(Ordering::Relaxed), before);
}

#[test]
fn changes_on_the_server_are_seen_without_trust() {
    let (w, server) = world("cache=mmap");
    assert_eq!(w.read("/m/hello").unwrap(), b"hello, world");
    {
        let mut state = server.state.lock();
        let id = state.objects[&0].children[&b"hello"[..]];
        let object = state.objects.get_mut(&id).unwrap();
        (object.data, object.version) = (b"other".to_vec(), 9);
        state.objects.get_mut(&0).unwrap().children.remove(&b"link"[..]);
    }
    assert_eq!(w.read("/m/hello").unwrap(), b"other");
    assert_eq!(w.lstat("/m/hello").unwrap().size, 5);
    assert_eq!(w.lstat("/m/link").err(), Some(Errno::ENOENT));
}

#[test]
fn files_are_made_written_moved_and_removed() {
    for mode in MODES {
        let (w, server) = world(mode);
        w.write("/m/new", b"text").unwrap();
        assert_eq!(w.read("/m/new").unwrap(), b"text");
        let file = w.open("/m/new", 2, 0).unwrap();
        file.pwrite(&mut vfs::Src::kernel(&[b'z'; 9000]), 2, u64::MAX).unwrap();
        assert_eq!(w.read("/m/new").unwrap(), [&b"te"[..], &[b'z'; 9000]].concat());
        w.mkdir("/m/made").unwrap();
        w.symlink("/m/hello", "/m/made/l").unwrap();
        assert_eq!(w.read("/m/made/l").unwrap(), b"hello, world");
        w.rename("/m/new", "/m/made/moved", 0).unwrap();
        w.link("/m/made/moved", "/m/made/second").unwrap();
        assert_eq!(w.lstat("/m/made/second").unwrap().nlink, 2);
        assert_eq!(list(&w, "/m/made").unwrap(), ". .. l moved second");
        for name in ["l", "moved", "second"] {
            w.unlink(&alloc::format!("/m/made/{name}")).unwrap();
        }
        w.rmdir("/m/made").unwrap();
        assert_eq!(list(&w, "/m").unwrap(), ". .. big dir hello link");
        drop(file);
        drop(w);
        // Every fid but those that the session itself still holds was clunked.
        assert!(server.state.lock().fids.len() < 8, "{} fids left", server.state.lock().fids.len());
    }
}

#[test]
fn extended_attributes_go_to_the_server() {
    let (w, _server) = world("cache=mmap");
    let path = w.lookup("/m/hello").unwrap();
    let inode = path.inode();
    assert_eq!(inode.get_xattr(b"user.a"), Err(Errno::ENODATA));
    inode.set_xattr(b"user.a", b"value", 0).unwrap();
    assert_eq!(inode.get_xattr(b"user.a").unwrap(), b"value");
    assert_eq!(inode.list_xattr().unwrap(), b"user.a\0");
    inode.remove_xattr(b"user.a").unwrap();
    assert_eq!(inode.list_xattr().unwrap(), b"");
}

#[test]
fn a_lying_server_causes_errors_and_nothing_else() {
    for mode in MODES {
        for lie in 1..300 {
            let (w, server) = world(mode);
            server.lie.store(lie, Ordering::Relaxed);
            let _ = w.read("/m/hello");
            let _ = w.read("/m/big");
            let _ = w.read("/m/link");
            let _ = list(&w, "/m/dir");
            let _ = w.write("/m/new", b"text");
            let _ = w.mkdir("/m/made");
            let _ = w.rename("/m/hello", "/m/moved", 0);
            let _ = w.lookup("/m/dir").map(|p| (p.inode().list_xattr(), p.inode().set_xattr(b"user.a", b"v", 0)));
            let _ = w.unlink("/m/big");
        }
    }
}
