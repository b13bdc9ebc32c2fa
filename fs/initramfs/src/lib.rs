//! The initial RAM file system: what the boot loader passed, unpacked into the root.
//!
//! Data flow: the image is a row of segments, each a bare cpio archive ([`cpio`]) or a gzip member that holds one
//! ([`gzip`]), with zero bytes between. [`unpack`] reads them in order and calls a [`Tree`] for each entry ([`unpack_at`]: a place in the mount tree); file bodies
//! of bare archives are passed as slices of the image, so stored data is copied once, into the page cache.
//!
//! The image is the boot loader's and therefore untrusted: any bytes end in an [`Error`], never in a panic, and what was
//! unpacked before the error stays. There are no locks here.
//!
//! Sources: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`, cpio(5), RFC 1951 and RFC 1952.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod cpio;
pub mod gzip;
mod tree;
mod unpack;

pub use tree::unpack_at;
pub use unpack::{Counts, Kind, Meta, Tree, unpack};

/// Why an image was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The image ends inside an entry or a compressed member.
    Truncated,
    /// Neither a cpio header nor a known compression starts here.
    Junk,
    /// A header field is not eight hexadecimal digits, or a name does not end in NUL.
    BadHeader,
    /// The body of an entry does not match the checksum in its header.
    BadChecksum,
    /// A compressed member is malformed.
    BadMember,
    /// No memory is left for an uncompressed member.
    NoMemory,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Truncated => "truncated archive",
            Error::Junk => "junk between archives",
            Error::BadHeader => "malformed cpio header",
            Error::BadChecksum => "bad cpio checksum",
            Error::BadMember => "malformed compressed member",
            Error::NoMemory => "out of memory",
        })
    }
}
