//! File types, attributes and attribute changes (inode(7), stat(2)).

use abi::stat::*;

/// A point in time: seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timespec {
    /// Seconds, negative before 1970.
    pub sec: i64,
    /// 0 to 999,999,999.
    pub nsec: u32,
}

/// What kind of object an inode is. The values are those of `d_type` (readdir(3)) and `st_mode >> 12`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum FileType {
    /// A FIFO.
    Fifo = 1,
    /// A character device.
    CharDevice = 2,
    /// A directory.
    Directory = 4,
    /// A block device.
    BlockDevice = 6,
    /// A regular file.
    Regular = 8,
    /// A symbolic link.
    Symlink = 10,
    /// A Unix-domain socket.
    Socket = 12,
    /// Something else (anonymous inodes).
    Unknown = 0,
}

impl FileType {
    /// The type held in a mode word.
    #[inline]
    pub const fn from_mode(mode: u32) -> FileType {
        match mode & S_IFMT {
            S_IFREG => FileType::Regular,
            S_IFDIR => FileType::Directory,
            S_IFLNK => FileType::Symlink,
            S_IFCHR => FileType::CharDevice,
            S_IFBLK => FileType::BlockDevice,
            S_IFIFO => FileType::Fifo,
            S_IFSOCK => FileType::Socket,
            _ => FileType::Unknown,
        }
    }
    /// The bits it has in a mode word.
    pub const fn mode(self) -> u32 {
        (self as u32) << 12
    }
}

/// Attributes of a file at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Attr {
    pub dev: u32,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub size: u64,
    pub blksize: u32,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Timespec,
}

/// A change of attributes; `None` leaves a field alone. Permission was checked by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// Permission, set-id and sticky bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<Timespec>,
    /// Modification time.
    pub mtime: Option<Timespec>,
    /// Change time; `vfs` fills it.
    pub ctime: Option<Timespec>,
}

/// A device number in the kernel's 32-bit form: 12 bits major, 20 bits minor.
pub const fn makedev(major: u32, minor: u32) -> u32 {
    (major << 20) | (minor & 0xf_ffff)
}

/// Major number of a device.
pub const fn major(dev: u32) -> u32 {
    dev >> 20
}

/// Minor number of a device.
pub const fn minor(dev: u32) -> u32 {
    dev & 0xf_ffff
}

/// Device number as user space sees it in `st_dev` (the encoding of `makedev(3)`).
pub const fn dev_to_user(dev: u32) -> u64 {
    let (major, minor) = (major(dev), minor(dev));
    ((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)) as u64
}

/// Device number from the argument of mknod(2).
pub const fn dev_from_user(dev: u32) -> u32 {
    makedev((dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xf_ff00))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_the_way_to_user_space_and_back() {
        for (ma, mi) in [(0, 5), (1, 3), (8, 300), (4095, 0xf_ffff)] {
            let dev = makedev(ma, mi);
            assert_eq!(dev_from_user(dev_to_user(dev) as u32), dev);
            assert_eq!((major(dev), minor(dev)), (ma, mi));
        }
    }

    #[test]
    fn file_types_are_the_top_bits_of_the_mode() {
        assert_eq!(FileType::from_mode(0o100644), FileType::Regular);
        assert_eq!(FileType::Directory.mode(), 0o040000);
    }
}
