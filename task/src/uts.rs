//! Names of the system: uname(2), sethostname(2), setdomainname(2).

use abi::Errno;
use machine::sync::SpinLock;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct new_utsname`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UtsName {
    /// Operating system, node, release, version, machine, domain; NUL-padded.
    pub fields: [[u8; 65]; 6],
}

/// Kernel release.
pub const RELEASE: &str = "7.2.0-ochre";
/// Kernel version: build number, features, date.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";
/// Longest name.
pub const MAX_NAME: usize = 64;

const NODE: usize = 1;
const DOMAIN: usize = 5;

const fn padded(s: &str) -> [u8; 65] {
    let bytes = s.as_bytes();
    let mut out = [0; 65];
    let mut i = 0;
    while i < bytes.len() && i < MAX_NAME {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

static NAMES: SpinLock<UtsName> = SpinLock::new(UtsName {
    fields: [padded("Linux"), padded("(none)"), padded(RELEASE), padded(VERSION), padded("x86_64"), padded("(none)")],
});

/// All names.
pub fn uname() -> UtsName {
    *NAMES.lock()
}

fn set(which: usize, name: &[u8]) -> Result<(), Errno> {
    let mut names = NAMES.lock();
    let field = names.fields.get_mut(which).ok_or(Errno::EINVAL)?;
    let mut new = [0; 65];
    new.get_mut(..name.len()).filter(|_| name.len() <= MAX_NAME).ok_or(Errno::EINVAL)?.copy_from_slice(name);
    *field = new;
    Ok(())
}

/// Sets the node name.
pub fn set_hostname(name: &[u8]) -> Result<(), Errno> {
    set(NODE, name)
}

/// Sets the domain name.
pub fn set_domainname(name: &[u8]) -> Result<(), Errno> {
    set(DOMAIN, name)
}

/// A name without its padding, for /proc/sys/kernel.
pub fn text(field: &[u8; 65]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}
