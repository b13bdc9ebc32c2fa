//! A tar archive as a root file system.
//!
//! It is unpacked once into the build directory. So that owners, modes, links and devices survive
//! without being root, QEMU's `mapped-file` model is used: each file's attributes are in a small
//! text file of the same name in `.virtfs_metadata` beside it, and links and devices are plain
//! files (QEMU, hw/9pfs/9p-local.c). Nothing in the archive can lead outside: names with `..` are
//! refused and links are never made.

use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::{unpack, workspace};
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType, Header};

const METADATA: &str = ".virtfs_metadata";

/// The folder with the archive's contents, unpacked now if it is not there from an earlier run.
pub fn unpacked(archive: &Path) -> Result<PathBuf> {
    let meta = fs::metadata(archive).context(archive.display())?;
    let mut hasher = DefaultHasher::new();
    let path = archive.canonicalize().context(archive.display())?;
    (path, meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
    let folder = workspace::state().join("rootfs").join(format!("{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = folder.with_extension(std::process::id().to_string());
    let progress = Progress::start(format!("unpacking {}", archive.display()));
    let result = unpack_into(archive, &part);
    drop(progress);
    if let Err(failure) = result {
        let _ = fs::remove_dir_all(&part);
        return Err(failure);
    }
    fs::rename(&part, &folder).context(folder.display())?;
    Ok(folder)
}

fn unpack_into(file: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(folder.display())?;
    let mut archive = Archive::new(unpack::open(file)?);
    let shown = file.display().to_string();
    let mut any = false;
    for entry in archive.entries().context(&shown)? {
        let mut entry = entry.context(format!("{shown}: not a tar archive"))?;
        let name = entry.path().context(&shown)?.into_owned();
        let Some(name) = inside(&name)? else { continue };
        let target = folder.join(&name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).context(parent.display())?;
        }
        let header = entry.header().clone();
        match header.entry_type() {
            EntryType::Directory => {
                fs::create_dir_all(&target).context(target.display())?;
                describe(&target, &header, 0o040_000)?;
            }
            EntryType::Link => {
                let to = entry.link_name().context(&shown)?.unwrap_or_default().into_owned();
                let Some(to) = inside(&to)? else { continue };
                let to = folder.join(to);
                let _ = fs::remove_file(&target);
                fs::hard_link(&to, &target).context(target.display())?;
                fs::copy(metadata_file(&to)?, metadata_file(&target)?).context(target.display())?;
            }
            EntryType::Symlink => {
                let to = entry.link_name_bytes().unwrap_or_default().into_owned();
                write(&target, &mut to.as_slice())?;
                describe(&target, &header, 0o120_000)?;
            }
            EntryType::Char => special(&target, &header, 0o020_000)?,
            EntryType::Block => special(&target, &header, 0o060_000)?,
            EntryType::Fifo => special(&target, &header, 0o010_000)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write(&target, &mut entry)?;
                describe(&target, &header, 0o100_000)?;
            }
            _ => continue,
        }
        any = true;
    }
    if any { Ok(()) } else { fail(format!("{shown}: an empty archive")) }
}

/// The name below the root; none for the root itself.
fn inside(name: &Path) -> Result<Option<PathBuf>> {
    let mut inside = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::RootDir | Component::CurDir => {}
            _ => return fail(format!("the archive's entry {} leads outside of it", name.display())),
        }
    }
    Ok((!inside.as_os_str().is_empty()).then_some(inside))
}

fn write(target: &Path, contents: &mut dyn Read) -> Result<()> {
    let _ = fs::remove_file(target);
    let mut file = fs::File::create_new(target).context(target.display())?;
    std::io::copy(contents, &mut file).context(target.display())?;
    file.flush().context(target.display())
}

fn special(target: &Path, header: &Header, kind: u32) -> Result<()> {
    write(target, &mut std::io::empty())?;
    describe(target, header, kind)
}

/// Writes the attributes of one file.
fn describe(target: &Path, header: &Header, kind: u32) -> Result<()> {
    let number = |value: std::io::Result<u64>| value.context(target.display());
    let (uid, gid) = (number(header.uid())?, number(header.gid())?);
    let mode = kind | (header.mode().context(target.display())? & 0o7777);
    let mut text = format!("virtfs.uid={uid}\nvirtfs.gid={gid}\nvirtfs.mode={mode}\n");
    if let (Ok(Some(major)), Ok(Some(minor))) = (header.device_major(), header.device_minor()) {
        text.push_str(&format!("virtfs.rdev={}\n", rustix::fs::makedev(major, minor)));
    }
    fs::write(metadata_file(target)?, text).context(target.display())
}

/// Where the attributes of a file are.
fn metadata_file(target: &Path) -> Result<PathBuf> {
    let folder = target.parent().unwrap_or(target).join(METADATA);
    fs::create_dir_all(&folder).context(folder.display())?;
    let name = target.file_name().unwrap_or(OsStr::from_bytes(b"_"));
    Ok(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_root() {
        assert_eq!(inside(Path::new("./etc/x")).ok().flatten(), Some(PathBuf::from("etc/x")));
        assert_eq!(inside(Path::new("/etc")).ok().flatten(), Some(PathBuf::from("etc")));
        assert_eq!(inside(Path::new("./")).ok(), Some(None));
        assert!(inside(Path::new("a/../../b")).is_err());
    }
}
