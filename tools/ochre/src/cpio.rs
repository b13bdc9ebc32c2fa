//! Writer of `newc` cpio archives, the format of an initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

/// What an entry is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link; its data is the target.
    Link,
    /// A character device with its numbers.
    CharDevice(u32, u32),
}

/// An archive under construction.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds one entry; parents must come first.
    pub fn add(&mut self, name: &str, kind: Kind, mode: u32, data: &[u8]) {
        let (kind, major, minor) = match kind {
            Kind::Dir => (0o040_000, 0, 0),
            Kind::File => (0o100_000, 0, 0),
            Kind::Link => (0o120_000, 0, 0),
            Kind::CharDevice(major, minor) => (0o020_000, major, minor),
        };
        self.entry(name, kind | mode, data, (major, minor));
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8], (major, minor): (u32, u32)) {
        self.inode += 1;
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(data);
        self.pad(4);
    }

    /// The whole archive, with its trailer, padded so that another may follow.
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, b"", (0, 0));
        self.pad(512);
        self.bytes
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_aligned_and_carries_its_sizes() {
        let mut archive = Archive::default();
        archive.add("init", Kind::File, 0o755, b"abcde");
        let bytes = archive.finish();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[54..62], b"00000005", "file size");
        assert_eq!(&bytes[94..102], b"00000005", "name size");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"abcde");
        assert_eq!(bytes.len() % 512, 0);
    }
}
