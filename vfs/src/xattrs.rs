//! Extended attributes of file systems that live in memory: a short list an inode, made on first use (xattr(7)). Which
//! namespaces a caller may use is checked above.

use abi::Errno;
use abi::stat::{XATTR_CREATE, XATTR_REPLACE};
use alloc::boxed::Box;
use alloc::vec::Vec;
use machine::sync::{Once, SpinLock};

struct Attribute {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// Bytes of names and values one inode may hold.
const MAX_BYTES: usize = 128 << 10;

/// The attributes of one inode.
#[derive(Default)]
pub struct Xattrs(Once<Box<SpinLock<Vec<Attribute>>>>);

fn copy(bytes: &[u8]) -> Result<Box<[u8]>, Errno> {
    let mut v = Vec::new();
    v.try_reserve_exact(bytes.len()).map_err(|_| Errno::ENOMEM)?;
    v.extend_from_slice(bytes);
    Ok(v.into_boxed_slice())
}

impl Xattrs {
    /// None yet.
    pub const fn new() -> Xattrs {
        Xattrs(Once::new())
    }
    /// The value of one; ENODATA if there is none.
    pub fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        known(name)?;
        let list = self.0.get().ok_or(Errno::ENODATA)?.lock();
        let found = list.iter().find(|a| *a.name == *name).ok_or(Errno::ENODATA)?;
        Ok(copy(&found.value)?.into_vec())
    }
    /// Sets one; `flags` as in setxattr(2).
    pub fn set(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        known(name)?;
        let new = Attribute { name: copy(name)?, value: copy(value)? };
        let mut list = self.0.get_or_init(Box::default).lock();
        let at = list.iter().position(|a| *a.name == *name);
        match at {
            Some(_) if flags & XATTR_CREATE != 0 => return Err(Errno::EEXIST),
            None if flags & XATTR_REPLACE != 0 => return Err(Errno::ENODATA),
            _ => {}
        }
        let used: usize = list.iter().map(|a| a.name.len() + a.value.len()).sum();
        if used + name.len() + value.len() > MAX_BYTES {
            return Err(Errno::ENOSPC);
        }
        match at.and_then(|i| list.get_mut(i)) {
            Some(old) => *old = new,
            None => {
                list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                list.push(new);
            }
        }
        Ok(())
    }
    /// Their names, each ended by a NUL.
    pub fn list(&self) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        if let Some(list) = self.0.get() {
            for a in list.lock().iter() {
                out.try_reserve(a.name.len() + 1).map_err(|_| Errno::ENOMEM)?;
                out.extend_from_slice(&a.name);
                out.push(0);
            }
        }
        Ok(out)
    }
    /// Removes one; ENODATA if there is none.
    pub fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        known(name)?;
        let mut list = self.0.get().ok_or(Errno::ENODATA)?.lock();
        let at = list.iter().position(|a| *a.name == *name).ok_or(Errno::ENODATA)?;
        list.remove(at);
        Ok(())
    }
}

/// POSIX ACLs are not kept here; the other namespaces are. A namespace alone is no name.
fn known(name: &[u8]) -> Result<(), Errno> {
    let namespaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    match namespaces.iter().find_map(|n| name.strip_prefix(*n)) {
        Some([]) => Err(Errno::EINVAL),
        Some(_) => Ok(()),
        None => Err(Errno::EOPNOTSUPP),
    }
}
