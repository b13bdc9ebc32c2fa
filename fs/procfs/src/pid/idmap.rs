//! `uid_map`, `gid_map`, `projid_map` and `setgroups`: user_namespaces(7).
//!
//! An open file stays with the user namespace the process had when it was opened. What may be written depends on who opened it, too: the rules are in
//! `vfs::user_ns_maps`.

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::PAGE_SIZE;
use mm::io::{Dst, Src};
use vfs::user_ns::IdKind;
use vfs::user_ns_maps::Writer;
use vfs::{Cap, File, FileOps, UserNamespace};

/// Longest text for `setgroups`.
const SETGROUPS_MAX: usize = 8;

/// What an open file is about.
enum About {
    Map(IdKind),
    Setgroups,
}

struct IdFile {
    ns: Arc<UserNamespace>,
    about: About,
}

fn open(subject: &Subject, about: About) -> Result<Arc<dyn FileOps>, Errno> {
    Ok(Arc::new(IdFile { ns: subject.task()?.cred().user_ns.clone(), about }))
}

/// Opens `uid_map`.
pub fn open_uid_map(subject: &Arc<Subject>, _: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    open(subject, About::Map(IdKind::Uid))
}

/// Opens `gid_map`.
pub fn open_gid_map(subject: &Arc<Subject>, _: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    open(subject, About::Map(IdKind::Gid))
}

/// Opens `projid_map`.
pub fn open_projid_map(subject: &Arc<Subject>, _: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    open(subject, About::Map(IdKind::Projid))
}

/// Opens `setgroups`: for writing only with CAP_SYS_ADMIN in the namespace.
pub fn open_setgroups(subject: &Arc<Subject>, flags: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    let ns = subject.task()?.cred().user_ns.clone();
    let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
    if writes && !crate::current().is_some_and(|me| me.cred().capable_in(&ns, Cap::SysAdmin)) {
        return Err(Errno::EACCES);
    }
    Ok(Arc::new(IdFile { ns, about: About::Setgroups }))
}

impl IdFile {
    fn text(&self, f: &File) -> Result<Vec<u8>, Errno> {
        let mut out = Text::new();
        match self.about {
            About::Map(kind) => {
                for e in self.ns.read_map(kind, &f.cred().user_ns)? {
                    out.dec_width(e.first.into(), 10).ch(' ').dec_width(e.lower.into(), 10);
                    out.ch(' ').dec_width(e.count.into(), 10).ch('\n');
                }
            }
            About::Setgroups => {
                out.str(if self.ns.setgroups_allowed() { "allow\n" } else { "deny\n" });
            }
        }
        out.finish()
    }
}

impl FileOps for IdFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let text = self.text(f)?;
        let rest = usize::try_from(off).ok().and_then(|off| text.get(off..)).unwrap_or_default();
        if rest.is_empty() { Ok(0) } else { dst.put(rest) }
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        let len = src.remaining();
        let fits = match self.about {
            About::Map(_) => len < PAGE_SIZE,
            About::Setgroups => len < SETGROUPS_MAX,
        };
        if off != 0 || !fits {
            return Err(Errno::EINVAL);
        }
        let mut input = Vec::new();
        input.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        input.resize(len, 0);
        let got = src.get(&mut input)?;
        let input = input.get(..got).unwrap_or_default();
        match self.about {
            About::Map(kind) => {
                let me = crate::current().ok_or(Errno::EPERM)?;
                self.ns.write_map(kind, input, &Writer { opener: f.cred(), cred: &me.cred() })?;
            }
            About::Setgroups => self.ns.write_setgroups(input)?,
        }
        Ok(got)
    }
}
