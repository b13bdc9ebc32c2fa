//! What a file gives those who run it, and when it loses that: set-id bits and the `security.capability` attribute go when the file's contents or owner
//! change (inode(7), capabilities(7)).
//!
//! Most files have no such attribute, and asking a server for it is dear: an inode remembers that it has none until one is set.

use crate::attr::SetAttr;
use crate::clock;
use crate::cred::{Cap, Cred};
use crate::inode::Inode;
use crate::permission::without_setid;
use crate::superblock::SbFlags;
use abi::Errno;
use abi::stat::{S_ISGID, S_ISUID};
use alloc::vec::Vec;

/// The attribute that holds the capabilities of a file.
pub const FILE_CAPS: &[u8] = b"security.capability";

impl dyn Inode {
    /// The capability attribute, if there is one.
    pub fn file_caps(&self) -> Result<Option<Vec<u8>>, Errno> {
        if self.base().has_no_caps() {
            return Ok(None);
        }
        // Nobody sets one between the question and the note.
        let _guard = self.base().lock.lock();
        self.look_for_caps()
    }
    /// The same with the inode locked.
    fn look_for_caps(&self) -> Result<Option<Vec<u8>>, Errno> {
        match self.get_xattr(FILE_CAPS) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => {
                if !self.sb().flags().contains(SbFlags::REVALIDATE) {
                    self.base().note_no_caps(true);
                }
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
    /// The contents change: takes away what only the old ones deserved. The inode is locked.
    #[inline]
    pub(crate) fn drop_privileges(&self, cred: &Cred) -> Result<(), Errno> {
        if self.base().has_no_caps() && self.base().mode() & (S_ISUID | S_ISGID) == 0 {
            return Ok(());
        }
        self.drop_caps()?;
        let mode = self.base().mode();
        let kept = without_setid(mode);
        if kept != mode && !cred.capable(Cap::Fsetid) {
            self.set_attr(&SetAttr { mode: Some(kept), ctime: Some(clock::now()), ..SetAttr::default() })?;
        }
        Ok(())
    }
    /// Removes the capabilities of a file whose owner or contents change. The inode is locked.
    pub(crate) fn drop_caps(&self) -> Result<(), Errno> {
        if !self.base().has_no_caps() && self.look_for_caps()?.is_some() {
            self.remove_xattr(FILE_CAPS)?;
        }
        Ok(())
    }
}
