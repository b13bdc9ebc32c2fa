//! What is mounted: statmount(2), listmount(2).

use super::tree::attributes_of;
use crate::support;
use abi::Errno;
use abi::mount::MountFlags;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::{PAGE_SIZE, VirtAddr};
use mm::UserPtr;
use task::Cx;
use vfs::mount::Home;
use vfs::namespace::{home_of, reachable, top_of};
use vfs::ns::{self, Namespace};
use vfs::propagate;
use vfs::{Cap, Mount, MountNamespace, Path, SbFlags, major, minor};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Ids of mounts are above this.
const FIRST_ID: u64 = 1 << 31;
/// In place of an id: the root of the caller, or of the namespace.
const ROOT: u64 = u64::MAX;
/// Most ids that listmount(2) gives at once.
const MOST: usize = 1_000_000;
/// Smallest `struct mnt_id_req`.
const REQUEST_MIN: usize = 24;

/// Flags of the calls.
const BY_FD: u32 = 1;
const REVERSE: u32 = 1;

/// `STATMOUNT_*`: what a request can ask for.
mod want {
    pub const SB_BASIC: u64 = 1;
    pub const MNT_BASIC: u64 = 1 << 1;
    pub const PROPAGATE_FROM: u64 = 1 << 2;
    pub const MNT_ROOT: u64 = 1 << 3;
    pub const MNT_POINT: u64 = 1 << 4;
    pub const FS_TYPE: u64 = 1 << 5;
    pub const MNT_NS_ID: u64 = 1 << 6;
    pub const MNT_OPTS: u64 = 1 << 7;
    pub const FS_SUBTYPE: u64 = 1 << 8;
    pub const SB_SOURCE: u64 = 1 << 9;
    pub const OPT_ARRAY: u64 = 1 << 10;
    pub const OPT_SEC_ARRAY: u64 = 1 << 11;
    pub const SUPPORTED_MASK: u64 = 1 << 12;
    pub const MNT_UIDMAP: u64 = 1 << 13;
    pub const MNT_GIDMAP: u64 = 1 << 14;
    /// All of them.
    pub const SUPPORTED: u64 = (1 << 15) - 1;
    /// Those whose answer is a text.
    pub const TEXTS: u64 = MNT_ROOT
        | MNT_POINT
        | FS_TYPE
        | MNT_OPTS
        | FS_SUBTYPE
        | SB_SOURCE
        | OPT_ARRAY
        | OPT_SEC_ARRAY
        | MNT_UIDMAP
        | MNT_GIDMAP;
}

/// `struct mnt_id_req`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    size: u32,
    /// A file: of the namespace, or with `STATMOUNT_BY_FD` on the mount.
    fd: u32,
    mnt_id: u64,
    /// What is wanted, or the last id seen.
    param: u64,
    mnt_ns_id: u64,
}

/// `struct statmount`, without the texts behind it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Fixed {
    size: u32,
    mnt_opts: u32,
    mask: u64,
    sb_dev_major: u32,
    sb_dev_minor: u32,
    sb_magic: u64,
    sb_flags: u32,
    fs_type: u32,
    mnt_id: u64,
    mnt_parent_id: u64,
    mnt_id_old: u32,
    mnt_parent_id_old: u32,
    mnt_attr: u64,
    mnt_propagation: u64,
    mnt_peer_group: u64,
    mnt_master: u64,
    propagate_from: u64,
    mnt_root: u32,
    mnt_point: u32,
    mnt_ns_id: u64,
    fs_subtype: u32,
    sb_source: u32,
    opt_num: u32,
    opt_array: u32,
    opt_sec_num: u32,
    opt_sec_array: u32,
    supported_mask: u64,
    mnt_uidmap_num: u32,
    mnt_uidmap: u32,
    mnt_gidmap_num: u32,
    mnt_gidmap: u32,
    spare: [u64; 43],
}

fn read_request(cx: &Cx, at: VirtAddr, by_fd: bool) -> Result<Request, Errno> {
    let size = UserPtr::<u32>::new(at).read(cx.mm())? as usize;
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < REQUEST_MIN {
        return Err(Errno::EINVAL);
    }
    let mut req = Request::new_zeroed();
    support::read_extensible(cx, at, size, req.as_mut_bytes())?;
    let bad = match by_fd {
        true => req.mnt_id != 0 || req.mnt_ns_id != 0,
        false => req.fd != 0 && req.mnt_ns_id != 0 || req.mnt_id <= FIRST_ID,
    };
    if bad { Err(Errno::EINVAL) } else { Ok(req) }
}

fn as_mount_ns(ns: Arc<dyn Namespace>) -> Option<Arc<MountNamespace>> {
    let any: Arc<dyn Any + Send + Sync> = ns;
    any.downcast().ok()
}

/// The namespace a request is about. Who is not in charge of one that is named by its number is told `refusal`.
fn requested_ns(cx: &Cx, req: &Request, refusal: Errno) -> Result<Arc<MountNamespace>, Errno> {
    let own = cx.mnt_ns();
    if req.mnt_ns_id != 0 {
        let ns = ns::find(req.mnt_ns_id).and_then(as_mount_ns).ok_or(Errno::ENOENT)?;
        let may_see = Arc::ptr_eq(&ns, &own) || cx.cred().capable_in(&ns.owner(), Cap::SysAdmin);
        return if may_see { Ok(ns) } else { Err(refusal) };
    }
    if req.fd == 0 {
        return Ok(own);
    }
    let file = cx.files().get(req.fd as i32)?;
    file.inode().namespace().cloned().and_then(as_mount_ns).ok_or(Errno::EINVAL)
}

/// Where paths start: the caller's root in its own namespace, else what lies on the bottom of the tree.
fn root_for(cx: &Cx, top: &Arc<Mount>, is_own: bool) -> Result<Path, Errno> {
    if is_own {
        return Ok(cx.fs().dirs().root.clone());
    }
    let first = top.children().into_iter().min_by_key(|m| m.unique_id());
    first.map(|m| Path::root_of(&m)).ok_or(Errno::ENOENT)
}

fn find(ns: &MountNamespace, id: u64) -> Result<Arc<Mount>, Errno> {
    ns.mounts().into_iter().find(|m| m.unique_id() == id).ok_or(Errno::ENOENT)
}

/// `root` leads to `mnt`, or the caller is in charge of the namespace.
fn check_reach(cx: &Cx, mnt: &Arc<Mount>, root: &Path, ns: &MountNamespace) -> Result<(), Errno> {
    let reached = reachable(&Path::root_of(mnt), root) || cx.cred().capable_in(&ns.owner(), Cap::SysAdmin);
    if reached { Ok(()) } else { Err(Errno::EPERM) }
}

/// What a request is about, and as seen from where.
struct Subject {
    mnt: Arc<Mount>,
    /// Where paths start and the number of the namespace; none for what is unmounted.
    seen: Option<(Path, u64)>,
}

fn subject(cx: &Cx, req: &Request, by_fd: bool) -> Result<Subject, Errno> {
    if !by_fd {
        let ns = requested_ns(cx, req, Errno::EPERM)?;
        let mnt = find(&ns, req.mnt_id)?;
        let root = root_for(cx, &ns.root(), Arc::ptr_eq(&ns, &cx.mnt_ns()))?;
        check_reach(cx, &mnt, &root, &ns)?;
        return Ok(Subject { mnt, seen: Some((root, ns.id())) });
    }
    let mnt = cx.files().get_any(req.fd as i32)?.path().mnt.clone();
    let (id, is_own) = match home_of(&mnt) {
        Home::None => return Ok(Subject { mnt, seen: None }),
        Home::Namespace(ns) => {
            let id = ns.upgrade().map_or(0, |ns| ns.id());
            (id, id == cx.mnt_ns().id())
        }
        Home::Descriptor { id, .. } => (id, false),
    };
    let root = root_for(cx, &top_of(&mnt), is_own)?;
    Ok(Subject { mnt, seen: Some((root, id)) })
}

/// The answer in the making.
struct Answer {
    fixed: Fixed,
    texts: Vec<u8>,
    room: usize,
}

impl Answer {
    /// Adds a text that is not empty; gives where it starts.
    fn text(&mut self, bit: u64, text: &[u8]) -> Result<u32, Errno> {
        // Offset 0 is the empty text, for all that is not there.
        if self.texts.is_empty() {
            self.texts.push(0);
        }
        if text.is_empty() {
            return Ok(0);
        }
        let start = self.texts.len();
        if size_of::<Fixed>() + start + text.len() >= self.room {
            return Err(Errno::EOVERFLOW);
        }
        self.texts.try_reserve(text.len() + 1).map_err(|_| Errno::ENOMEM)?;
        self.texts.extend_from_slice(text);
        self.texts.push(0);
        self.fixed.mask |= bit;
        Ok(start as u32)
    }
    fn instance(&mut self, mnt: &Mount) -> Result<(), Errno> {
        let (sb, f) = (mnt.sb(), &mut self.fixed);
        f.mask |= want::SB_BASIC;
        (f.sb_dev_major, f.sb_dev_minor) = (major(sb.dev()), minor(sb.dev()));
        f.sb_magic = sb.ops().statfs()?.magic;
        let flags = sb.flags();
        for (flag, bit) in [
            (SbFlags::RDONLY, MountFlags::RDONLY),
            (SbFlags::SYNCHRONOUS, MountFlags::SYNCHRONOUS),
            (SbFlags::DIRSYNC, MountFlags::DIRSYNC),
            (SbFlags::LAZYTIME, MountFlags::LAZYTIME),
        ] {
            f.sb_flags |= if flags.contains(flag) { bit.bits() as u32 } else { 0 };
        }
        Ok(())
    }
    fn mount(&mut self, mnt: &Arc<Mount>) {
        let f = &mut self.fixed;
        let parent = mnt.parent().map_or_else(|| mnt.clone(), |at| at.mnt);
        f.mask |= want::MNT_BASIC;
        (f.mnt_id, f.mnt_id_old) = (mnt.unique_id(), mnt.id());
        (f.mnt_parent_id, f.mnt_parent_id_old) = (parent.unique_id(), parent.id());
        f.mnt_attr = attributes_of(mnt.flags());
        let p = propagate::of(mnt);
        (f.mnt_peer_group, f.mnt_master) = (p.group.into(), p.master.into());
        let mut bits = MountFlags::empty();
        bits.set(MountFlags::SHARED, p.group != 0);
        bits.set(MountFlags::SLAVE, p.master != 0);
        bits.set(MountFlags::UNBINDABLE, p.unbindable);
        f.mnt_propagation = if bits.is_empty() { MountFlags::PRIVATE } else { bits }.bits();
    }
    fn options(&mut self, mnt: &Mount, wanted: u64) -> Result<(), Errno> {
        let mut shown = String::new();
        mnt.sb().ops().show_options(&mut shown).map_err(|_| Errno::ENOMEM)?;
        let shown = shown.strip_prefix(',').unwrap_or(&shown).as_bytes();
        if wanted & want::MNT_OPTS != 0 {
            self.fixed.mnt_opts = self.text(want::MNT_OPTS, shown)?;
        }
        if wanted & want::OPT_ARRAY != 0 && !shown.is_empty() {
            let parts: Vec<Vec<u8>> = shown.split(|b| *b == b',').map(unescape).collect();
            self.fixed.opt_num = parts.len() as u32;
            self.fixed.opt_array = self.text(want::OPT_ARRAY, &parts.join(&0))?;
        }
        Ok(())
    }
}

/// Takes octal escapes out of an option.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digit = |b: u8| matches!(b, b'0'..=b'7').then(|| b - b'0');
        let escaped = match (first, tail) {
            (b'\\', [a, b, c, after @ ..]) => {
                digit(*a).zip(digit(*b)).zip(digit(*c)).map(|((a, b), c)| ((a & 3) << 6 | b << 3 | c, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

/// statmount(2)
pub fn statmount(cx: &mut Cx, req: VirtAddr, buf: VirtAddr, size: usize, flags: u32) -> Result<(), Errno> {
    if flags & !BY_FD != 0 {
        return Err(Errno::EINVAL);
    }
    let by_fd = flags & BY_FD != 0;
    let req = read_request(cx, req, by_fd)?;
    if by_fd {
        cx.files().get_any(req.fd as i32)?;
    } else {
        requested_ns(cx, &req, Errno::EPERM)?;
    }
    if !mm::io::access_ok(buf, size) {
        return Err(Errno::EFAULT);
    }
    if req.param & want::TEXTS != 0 && size == size_of::<Fixed>() {
        return Err(Errno::EOVERFLOW);
    }
    let Subject { mnt, seen } = subject(cx, &req, by_fd)?;
    let mut answer = Answer { fixed: Fixed::new_zeroed(), texts: Vec::new(), room: size };
    let wants = |bit| req.param & bit != 0;
    if wants(want::MNT_BASIC) {
        answer.mount(&mnt);
    }
    if wants(want::SB_BASIC) {
        answer.instance(&mnt)?;
    }
    if wants(want::PROPAGATE_FROM) {
        let dirs = cx.fs().dirs();
        answer.fixed.mask |= want::PROPAGATE_FROM;
        answer.fixed.propagate_from = propagate::dominating(&mnt, &dirs.root, &dirs.ns).into();
    }
    if wants(want::FS_TYPE) {
        answer.fixed.fs_type = answer.text(want::FS_TYPE, mnt.sb().fs_name().as_bytes())?;
    }
    if wants(want::MNT_ROOT) {
        answer.fixed.mnt_root = answer.text(want::MNT_ROOT, &mnt.root_text())?;
    }
    if let Some((root, _)) = seen.as_ref().filter(|_| wants(want::MNT_POINT)) {
        let (text, reached) = Path::root_of(&mnt).text(root);
        answer.fixed.mnt_point = answer.text(want::MNT_POINT, if reached { &text } else { b"" })?;
    }
    if wants(want::MNT_OPTS | want::OPT_ARRAY) {
        answer.options(&mnt, req.param)?;
    }
    // There are no security modules with options, no subtypes and no id maps.
    if wants(want::OPT_SEC_ARRAY | want::FS_SUBTYPE | want::MNT_UIDMAP | want::MNT_GIDMAP) {
        answer.text(0, b"")?;
    }
    if wants(want::SB_SOURCE) {
        answer.fixed.sb_source = answer.text(want::SB_SOURCE, mnt.source())?;
    }
    if let Some((_, id)) = seen.filter(|_| wants(want::MNT_NS_ID)) {
        answer.fixed.mask |= want::MNT_NS_ID;
        answer.fixed.mnt_ns_id = id;
    }
    if wants(want::SUPPORTED_MASK) {
        answer.fixed.mask |= want::SUPPORTED_MASK;
        answer.fixed.supported_mask = want::SUPPORTED;
    }
    let Answer { mut fixed, texts, .. } = answer;
    let copied = size.min(size_of::<Fixed>());
    cx.mm().write_bytes(VirtAddr(buf.0.wrapping_add(size_of::<Fixed>() as u64)), &texts)?;
    fixed.size = (copied + texts.len()) as u32;
    cx.mm().write_bytes(buf, fixed.as_bytes().get(..copied).unwrap_or_default())
}

/// listmount(2)
pub fn listmount(cx: &mut Cx, req: VirtAddr, ids: UserPtr<u64>, count: usize, flags: u32) -> Result<usize, Errno> {
    if flags & !REVERSE != 0 {
        return Err(Errno::EINVAL);
    }
    if count > MOST {
        return Err(Errno::EOVERFLOW);
    }
    if !mm::io::access_ok(ids.addr(), count * size_of::<u64>()) {
        return Err(Errno::EFAULT);
    }
    let req = read_request(cx, req, false)?;
    if req.param != 0 && req.param <= FIRST_ID {
        return Err(Errno::EINVAL);
    }
    let ns = requested_ns(cx, &req, Errno::ENOENT)?;
    let root = root_for(cx, &ns.root(), Arc::ptr_eq(&ns, &cx.mnt_ns()))?;
    let origin = if req.mnt_id == ROOT { root.clone() } else { Path::root_of(&find(&ns, req.mnt_id)?) };
    let reached = reachable(&origin, &root) || cx.cred().capable_in(&ns.owner(), Cap::SysAdmin);
    if !reached {
        return Err(Errno::EPERM);
    }
    let backwards = flags & REVERSE != 0;
    let is_next = |id: u64| req.param == 0 || if backwards { id < req.param } else { id > req.param };
    let mut found: Vec<u64> = ns
        .mounts()
        .iter()
        .filter(|m| m.unique_id() != req.mnt_id && is_next(m.unique_id()) && reachable(&Path::root_of(m), &origin))
        .map(|m| m.unique_id())
        .collect();
    found.sort_unstable();
    if backwards {
        found.reverse();
    }
    found.truncate(count);
    for (i, id) in found.iter().enumerate() {
        ids.at(i).write(cx.mm(), id)?;
    }
    Ok(found.len())
}
