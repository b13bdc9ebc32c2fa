//! memfd_create(2): regular files without a name, in an instance of their own.

use crate::file::RegularFile;
use crate::node::Common;
use crate::options::Options;
use crate::space::{Space, Super};
use abi::Errno;
use abi::fcntl::{OpenFlags, seal};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::Once;
use vfs::{Cred, Dentry, File, FileType, Inode, MntFlags, Mount, Path, SbFlags, SuperBlock};

struct Home {
    sb: Arc<SuperBlock>,
    space: Arc<Space>,
    mnt: Arc<Mount>,
}

fn home() -> &'static Home {
    static HOME: Once<Home> = Once::new();
    HOME.get_or_init(|| {
        let space = Space::new(&Options::unlimited());
        let sb = SuperBlock::new("tmpfs", SbFlags::INTERNAL, Box::new(Super(space.clone())));
        let root = crate::dir::Dir::root(&sb, &space, 0o755, 0, 0);
        let mnt = Mount::new(sb.root_dentry(&root), b"tmpfs", MntFlags::INTERNAL);
        Home { sb, space, mnt }
    })
}

/// Whether and how a memfd can be sealed and executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemfdKind {
    /// `MFD_ALLOW_SEALING`.
    pub sealable: bool,
    /// `MFD_NOEXEC_SEAL`.
    pub noexec: bool,
}

/// A new memfd, open for reading and writing and shown as `/memfd:NAME`.
pub fn memfd(name: &[u8], kind: MemfdKind, cred: &Arc<Cred>) -> Result<Arc<File>, Errno> {
    let home = home();
    let perm = if kind.noexec { 0o666 } else { 0o777 };
    let mode = FileType::Regular.mode() | perm;
    let common = Common::new(&home.sb, &home.space, mode, cred.fsuid, cred.fsgid, 0)?;
    common.base.set_nlink(0);
    let file = RegularFile::new(common);
    file.set_seals(match kind {
        MemfdKind { noexec: true, .. } => seal::EXEC,
        MemfdKind { sealable: true, .. } => 0,
        _ => seal::SEAL,
    });
    let inode = Arc::new(file);
    let mut text = Vec::new();
    text.try_reserve_exact(name.len() + 6).map_err(|_| Errno::ENOMEM)?;
    text.extend_from_slice(b"memfd:");
    text.extend_from_slice(name);
    let path = Path { mnt: home.mnt.clone(), dentry: Dentry::unlinked(inode.clone() as Arc<dyn Inode>, &text) };
    Ok(File::new(path, inode, OpenFlags::RDWR | OpenFlags::LARGEFILE, cred.clone()))
}
