//! Who may do what with an inode, by mode bits and capabilities (path_resolution(7), "Permissions"; capabilities(7)).

use crate::attr::FileType;
use crate::cred::{Cap, Cred};
use crate::inode::InodeBase;
use abi::Errno;
use abi::stat::{S_ISGID, S_ISUID};

/// What an access wants: the bits of access(2).
pub mod may {
    /// Execute, or search a directory.
    pub const EXEC: u32 = 1;
    /// Write.
    pub const WRITE: u32 = 2;
    /// Read.
    pub const READ: u32 = 4;
}

/// The rules of path_resolution(7), "Permissions": owner, then group, then others, then capabilities.
pub fn generic_permission(base: &InodeBase, cred: &Cred, mask: u32) -> Result<(), Errno> {
    let mode = base.mode();
    let bits = if cred.fsuid == base.uid() {
        mode >> 6
    } else if cred.in_group(base.gid()) {
        mode >> 3
    } else {
        mode
    };
    if mask & !bits & 7 == 0 {
        return Ok(());
    }
    if base.kind() == FileType::Directory {
        if mask & may::WRITE == 0 && cred.capable_over(base, Cap::DacReadSearch)
            || cred.capable_over(base, Cap::DacOverride)
        {
            return Ok(());
        }
        return Err(Errno::EACCES);
    }
    if mask == may::READ && cred.capable_over(base, Cap::DacReadSearch) {
        return Ok(());
    }
    if (mask & may::EXEC == 0 || mode & 0o111 != 0) && cred.capable_over(base, Cap::DacOverride) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// The mode a write or a change of owner leaves: set-user-id goes, set-group-id goes from group-executable files (inode(7)).
pub fn without_setid(mode: u32) -> u32 {
    let drop_sgid = mode & 0o010 != 0;
    mode & !S_ISUID & !(if drop_sgid { S_ISGID } else { 0 })
}
