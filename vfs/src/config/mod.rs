//! Mount contexts: what fsopen(2), fsconfig(2), fsmount(2) and fspick(2) work on, and mount(2) in one go.
//!
//! ```text
//! fsopen ─> parameters ─create─> made ─mount─┐
//!                                            v
//! fspick ───────────────────────> changes ─reconfigure─> (changes again)
//! ```
//!
//! A file system gives a [`Configure`] for each context: a table of parameters ([`param`]), a place where their values are kept, and what makes or
//! changes an instance from them. What every file system takes (`ro`, `sync`, `source`, ...) is handled here, also the splitting of mount(2)'s option
//! string, so that both ways to mount read the same options. [`log`] has the messages.
//!
//! Lock order: the context's lock ([`ContextFile`], sleeping) before those of the file system and of the mount tree.
//!
//! Sources: fsopen(2), fsconfig(2), fsmount(2), fspick(2), mount(8), Linux `Documentation/filesystems/mount_api.rst`.

mod file;
pub mod log;
pub mod param;

pub use file::ContextFile;
pub use log::Log;
pub use param::{Given, Kind, Param, Value};

use crate::caller::Caller;
use crate::cred::{Cap, Cred};
use crate::dentry::Dentry;
use crate::fscontext::Dirs;
use crate::inode::Inode;
use crate::mount::{self, MntFlags, Mount};
use crate::namespace::{MountNamespace, visible};
use crate::path::Path;
use crate::superblock::{FsType, SbFlags, SuperBlock};
use crate::user_ns::UserNamespace;
use crate::walk::{self, Start};
use abi::Errno;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Who works on a context, for a file system that needs to know.
pub struct Mounting<'a> {
    /// The caller.
    pub caller: &'a Caller<'a>,
    /// Its root and working directory.
    pub dirs: &'a Dirs,
    /// The user namespace that the instance belongs to.
    pub user_ns: &'a Arc<UserNamespace>,
    /// An instance that exists is being changed.
    pub reconfigures: bool,
    /// mount(2) asks, not fsconfig(2).
    pub legacy: bool,
    /// Where to say what is wrong.
    pub log: &'a mut Log,
}

impl Mounting<'_> {
    /// The caller's credentials.
    pub fn cred(&self) -> &Arc<Cred> {
        self.caller.cred
    }
    /// Looks up a path given as a parameter, with the caller's root, working directory and rights.
    pub fn resolve(&self, path: &[u8]) -> Result<Path, Errno> {
        walk::lookup(&Start::new(&self.dirs.root, &self.dirs.cwd, self.caller.cred), path, true)
    }
}

/// A file system's part of a context.
pub trait Configure: Send {
    /// The parameters it knows.
    fn params(&self) -> &'static [Param] {
        &[]
    }
    /// Takes over one of them.
    fn set(&mut self, _name: &'static str, _value: Value<'_>, _by: &mut Mounting<'_>) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
    /// Parameters it does not know are passed over.
    fn ignores_unknown(&self) -> bool {
        false
    }
    /// Splits mount(2)'s option string after its first option.
    fn next_option<'t>(&self, text: &'t [u8]) -> (&'t [u8], Option<&'t [u8]>) {
        split_at(text, |_, _| true)
    }
    /// The user namespace whose administrator may make the instance, if not the caller's.
    fn user_ns(&self) -> Option<Arc<UserNamespace>> {
        None
    }
    /// Makes an instance, or finds the one that serves this source, and returns its root. Only asked of what [`FsType::configure`] gave.
    fn create(
        &mut self,
        _source: Option<&[u8]>,
        _flags: SbFlags,
        _by: &mut Mounting<'_>,
    ) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EINVAL)
    }
    /// Puts changed parameters into force.
    fn reconfigure(&mut self, _sb: &Arc<SuperBlock>, _by: &mut Mounting<'_>) -> Result<(), Errno> {
        Ok(())
    }
}

/// A file system without parameters, or an instance that has none to change.
pub struct Plain(pub fn(SbFlags) -> Result<Arc<dyn Inode>, Errno>);

impl Configure for Plain {
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, _: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        (self.0)(flags)
    }
}

/// Splits `text` at the first comma that `ends` accepts, given what is before and behind it.
pub fn split_at(text: &[u8], ends: impl Fn(&[u8], &[u8]) -> bool) -> (&[u8], Option<&[u8]>) {
    let parts = |at: usize| Some((text.get(..at)?, text.get(at + 1..)?));
    let commas = text.iter().enumerate().filter(|(_, b)| **b == b',').filter_map(|(at, _)| parts(at));
    commas.map(|(a, b)| (a, Some(b))).find(|(a, b)| ends(a, b.unwrap_or_default())).unwrap_or((text, None))
}

/// Where a context is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Takes parameters of a new instance.
    Parameters,
    /// The instance is made and waits for its mount.
    Made,
    /// It is mounted; parameters of a change can come.
    Mounted,
    /// Takes parameters of a change.
    Changes,
    /// Something failed half-way.
    Failed,
}

/// Words for flags of instances, with what they do to them. `mand` and `nomand` have had no effect since Linux 5.15.
const FLAG_WORDS: [(&[u8], SbFlags, bool); 9] = [
    (b"dirsync", SbFlags::DIRSYNC, true),
    (b"lazytime", SbFlags::LAZYTIME, true),
    (b"mand", SbFlags::empty(), true),
    (b"ro", SbFlags::RDONLY, true),
    (b"sync", SbFlags::SYNCHRONOUS, true),
    (b"async", SbFlags::SYNCHRONOUS, false),
    (b"nolazytime", SbFlags::LAZYTIME, false),
    (b"nomand", SbFlags::empty(), false),
    (b"rw", SbFlags::RDONLY, false),
];

/// An instance in the making or under change.
pub struct MountContext {
    fs_name: &'static str,
    /// The type, while an instance is being made.
    fs: Option<&'static dyn FsType>,
    phase: Phase,
    legacy: bool,
    options: Option<Box<dyn Configure>>,
    user_ns: Arc<UserNamespace>,
    source: Option<Vec<u8>>,
    flags: SbFlags,
    changed_flags: SbFlags,
    root: Option<Arc<Dentry>>,
    log: Log,
}

impl MountContext {
    /// Starts to make an instance of a file system (fsopen(2)).
    pub fn for_mount(fs: &'static dyn FsType, cred: &Cred) -> Result<MountContext, Errno> {
        let options = fs.configure()?;
        Ok(MountContext {
            fs_name: fs.name(),
            fs: Some(fs),
            phase: Phase::Parameters,
            legacy: false,
            user_ns: options.user_ns().unwrap_or_else(|| cred.user_ns.clone()),
            options: Some(options),
            source: None,
            flags: SbFlags::empty(),
            changed_flags: SbFlags::empty(),
            root: None,
            log: Log::kept(fs.name()),
        })
    }
    /// Starts to change the instance that `root` is a directory of (fspick(2)).
    pub fn for_reconfigure(root: &Arc<Dentry>) -> Result<MountContext, Errno> {
        let sb = root.sb();
        if sb.flags().contains(SbFlags::INTERNAL) {
            return Err(Errno::EINVAL);
        }
        let options = sb.ops().configure();
        Ok(MountContext {
            fs_name: sb.fs_name(),
            fs: None,
            phase: Phase::Changes,
            legacy: false,
            user_ns: options.user_ns().unwrap_or_else(|| sb.user_ns().clone()),
            options: Some(options),
            source: None,
            flags: SbFlags::empty(),
            changed_flags: SbFlags::empty(),
            root: Some(root.clone()),
            log: Log::kept(sb.fs_name()),
        })
    }
    /// The same for a call of mount(2): with its flags, of which those in `mask` are said to change, and messages to the kernel's log.
    pub fn legacy(mut self, flags: SbFlags, mask: SbFlags) -> MountContext {
        self.legacy = true;
        self.flags = flags;
        self.changed_flags = mask;
        self.log = Log::kernel(self.fs_name);
        self
    }
    /// What was wrong lately.
    pub fn log(&mut self) -> &mut Log {
        &mut self.log
    }
    /// Calls `f` with the file system's part.
    fn with_options<R>(
        &mut self,
        caller: &Caller<'_>,
        dirs: &Dirs,
        f: impl FnOnce(&mut dyn Configure, &mut Mounting<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut by = Mounting {
            caller,
            dirs,
            user_ns: &self.user_ns,
            reconfigures: self.fs.is_none(),
            legacy: self.legacy,
            log: &mut self.log,
        };
        f(&mut **self.options.as_mut().ok_or(Errno::EBUSY)?, &mut by)
    }
    /// After a mount, the next command starts a change of what was mounted.
    fn restart(&mut self) {
        if let (Phase::Mounted, Some(root)) = (self.phase, &self.root) {
            self.options = Some(root.sb().ops().configure());
            self.phase = Phase::Changes;
        }
    }

    /// Sets one parameter.
    pub fn set(&mut self, key: &[u8], given: Given<'_>, caller: &Caller<'_>, dirs: &Dirs) -> Result<(), Errno> {
        self.restart();
        if !matches!(self.phase, Phase::Parameters | Phase::Changes) {
            return Err(Errno::EBUSY);
        }
        if let Some((_, flag, on)) = FLAG_WORDS.iter().find(|(word, ..)| *word == key) {
            self.flags.set(*flag, *on);
            self.changed_flags |= *flag;
            return Ok(());
        }
        let names = caller.cred.user_ns.clone();
        let known = self.with_options(caller, dirs, |options, by| {
            let Some((name, value)) = param::parse(options.params(), key, given, &names, by.log)? else {
                return Ok(false);
            };
            options.set(name, value, by)?;
            Ok(true)
        })?;
        // An option may decide whom the instance belongs to.
        if let Some(owner) = self.options.as_ref().and_then(|options| options.user_ns()) {
            self.user_ns = owner;
        }
        if known {
            return Ok(());
        }
        if key == b"source" {
            return self.set_source(given);
        }
        if self.options.as_ref().is_some_and(|options| options.ignores_unknown()) {
            return Ok(());
        }
        let (fs, key) = (self.fs_name, String::from_utf8_lossy(key));
        Err(self.log.invalid(format_args!("{fs}: Unknown parameter '{key}'")))
    }
    fn set_source(&mut self, given: Given<'_>) -> Result<(), Errno> {
        let Given::Text(text) = given else { return Err(self.log.invalid(format_args!("Non-string source"))) };
        if self.source.is_some() {
            return Err(self.log.invalid(format_args!("Multiple sources")));
        }
        self.source = Some(text.to_vec());
        Ok(())
    }
    /// Sets what the option string of mount(2) says.
    pub fn set_all(&mut self, text: &[u8], caller: &Caller<'_>, dirs: &Dirs) -> Result<(), Errno> {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let option;
            (option, rest) = self.options.as_ref().map_or((text, None), |options| options.next_option(text));
            let (key, value) = match option.iter().position(|b| *b == b'=') {
                Some(at) => (option.get(..at).unwrap_or_default(), option.get(at + 1..)),
                None => (option, None),
            };
            if !key.is_empty() {
                self.set(key, value.map_or(Given::Flag, Given::Text), caller, dirs)?;
            }
        }
        Ok(())
    }
    /// Makes the instance; with `exclusive` not one that others use already.
    pub fn create(&mut self, exclusive: bool, caller: &Caller<'_>, dirs: &Dirs) -> Result<(), Errno> {
        self.restart();
        let fs = self.fs.filter(|_| self.phase == Phase::Parameters).ok_or(Errno::EBUSY)?;
        let allowed = match fs.in_user_ns() {
            true => caller.cred.capable_in(&self.user_ns, Cap::SysAdmin),
            false => caller.cred.capable(Cap::SysAdmin),
        };
        if !allowed {
            return Err(Errno::EPERM);
        }
        self.phase = Phase::Failed;
        let (source, flags) = (self.source.take(), self.flags);
        let made = self.with_options(caller, dirs, |options, by| options.create(source.as_deref(), flags, by));
        self.source = source;
        let inode = made?;
        let sb = inode.sb().clone();
        if exclusive && sb.root().is_some() {
            self.log.warn_fs(format_args!("reusing existing filesystem not allowed"));
            return Err(Errno::EBUSY);
        }
        let whole = sb.root_dentry(&inode);
        self.root = Some(match fs.shown_root() {
            None => whole,
            Some(inside) => {
                let top = Path::root_of(&Mount::new(whole, b"none", MntFlags::empty()));
                walk::lookup(&Start::new(&top, &top, caller.cred), &inside, true)?.dentry
            }
        });
        self.phase = Phase::Made;
        Ok(())
    }
    /// Puts changes into force.
    pub fn reconfigure(&mut self, caller: &Caller<'_>, dirs: &Dirs) -> Result<(), Errno> {
        self.restart();
        let root = self.root.clone().filter(|_| self.phase == Phase::Changes).ok_or(Errno::EBUSY)?;
        self.phase = Phase::Failed;
        let sb = root.sb();
        if !caller.cred.capable_in(sb.user_ns(), Cap::SysAdmin) {
            return Err(Errno::EPERM);
        }
        let (flags, mask) = (self.flags, self.changed_flags);
        if !(SbFlags::REMOUNTABLE.contains(mask)) {
            return Err(Errno::EINVAL);
        }
        let to_readonly = mask.contains(SbFlags::RDONLY) && flags.contains(SbFlags::RDONLY) && !sb.is_readonly();
        if to_readonly && sb.has_writers() {
            return Err(Errno::EBUSY);
        }
        self.with_options(caller, dirs, |options, by| options.reconfigure(sb, by))?;
        sb.set_flags(mask, flags);
        self.clean();
        Ok(())
    }
    /// A mount of the instance that was made, for a caller in `ns`; it is not attached yet.
    pub fn mount(&mut self, mut flags: MntFlags, ns: &MountNamespace) -> Result<Arc<Mount>, Errno> {
        let root = self.root.clone().ok_or(Errno::EINVAL)?;
        if visible::too_revealing(root.sb(), ns, &mut flags) {
            self.log.error(format_args!("VFS: Mount too revealing"));
            return Err(Errno::EPERM);
        }
        if self.phase != Phase::Made {
            return Err(Errno::EBUSY);
        }
        if mount::live() >= crate::namespace::MAX_MOUNTS {
            return Err(Errno::ENOSPC);
        }
        if root.sb().flags().contains(SbFlags::INTERNAL) {
            return Err(Errno::EINVAL);
        }
        let mnt = Mount::new(root, self.source.as_deref().unwrap_or(b"none"), flags);
        self.clean();
        Ok(mnt)
    }
    /// What was asked for is done: nothing of it is left for the next change. Which flags were named stays, as on Linux.
    fn clean(&mut self) {
        self.options = None;
        self.flags = SbFlags::empty();
        self.source = None;
        self.fs = None;
        self.phase = Phase::Mounted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn option_strings_end_where_the_file_system_says() {
        assert_eq!(split_at(b"a,b,c", |_, _| true), (&b"a"[..], Some(&b"b,c"[..])));
        let digits = |_: &[u8], rest: &[u8]| !rest.first().is_some_and(u8::is_ascii_digit);
        assert_eq!(split_at(b"mpol=bind:0,2,size=1", digits), (&b"mpol=bind:0,2"[..], Some(&b"size=1"[..])));
        assert_eq!(split_at(b"", |_, _| true), (&b""[..], None));
        assert_eq!(split_at(b"a,", |_, _| true), (&b"a"[..], Some(&b""[..])));
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(text in proptest::collection::vec(prop_oneof![Just(b','), Just(b'\\'), any::<u8>()], 0..60), odd: bool) {
            let mut parts = Vec::new();
            let mut rest = Some(&text[..]);
            while let Some(at) = rest {
                let part;
                (part, rest) = split_at(at, |before, _| !odd || before.len() % 2 == 0);
                parts.push(part.to_vec());
            }
            prop_assert_eq!(parts.join(&b','), text);
        }
    }
}
