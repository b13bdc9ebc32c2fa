//! `mounts`, `mountinfo`, `mountstats`: proc_pid_mounts(5), proc_pid_mountinfo(5).
//!
//! Only mounts that the process can reach from its root directory are shown, with paths as it sees them.

use super::Subject;
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use vfs::{Dirs, File, MntFlags, Mount, Path, SbFlags, major, minor};

type Shown = Result<(), Errno>;

/// Characters that separate fields, written as octal escapes.
const SPECIAL: &[u8] = b" \t\n\\#";

fn dirs_of(subject: &Subject) -> Result<Arc<Dirs>, Errno> {
    Ok(subject.task()?.fs().ok_or(Errno::EINVAL)?.dirs())
}

fn each(subject: &Subject, mut f: impl FnMut(&Arc<Mount>, &[u8])) -> Shown {
    let dirs = dirs_of(subject)?;
    let mut mounts = dirs.ns.mounts();
    // Oldest first.
    mounts.sort_unstable_by_key(|mount| mount.unique_id());
    for mount in mounts {
        let (point, reached) = Path::root_of(&mount).text(&dirs.root);
        if reached {
            f(&mount, &point);
        }
    }
    Ok(())
}

fn source(out: &mut Text, mount: &Mount) {
    if mount.source().is_empty() {
        out.str("none");
    } else {
        out.escaped(mount.source(), SPECIAL);
    }
}

/// Options of the instance, without the leading comma.
fn instance_options(out: &mut Text, mount: &Mount) {
    let flags = mount.sb().flags();
    out.str(if flags.contains(SbFlags::RDONLY) { "ro" } else { "rw" });
    for (flag, name) in
        [(SbFlags::SYNCHRONOUS, ",sync"), (SbFlags::DIRSYNC, ",dirsync"), (SbFlags::LAZYTIME, ",lazytime")]
    {
        if flags.contains(flag) {
            out.str(name);
        }
    }
}

fn mount_options(out: &mut Text, mount: &Mount) {
    let flags = mount.flags();
    for (flag, name) in [
        (MntFlags::NOSUID, ",nosuid"),
        (MntFlags::NODEV, ",nodev"),
        (MntFlags::NOEXEC, ",noexec"),
        (MntFlags::NOATIME, ",noatime"),
        (MntFlags::NODIRATIME, ",nodiratime"),
        (MntFlags::RELATIME, ",relatime"),
        (MntFlags::NOSYMFOLLOW, ",nosymfollow"),
    ] {
        if flags.contains(flag) {
            out.str(name);
        }
    }
}

fn special_options(out: &mut Text, mount: &Mount) {
    // A text never refuses what is written to it.
    let _ = mount.sb().ops().show_options(out);
}

/// `/proc/PID/mounts`.
pub fn mounts(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    each(subject, |mount, point| {
        source(out, mount);
        out.ch(' ').escaped(point, SPECIAL).ch(' ').str(mount.sb().fs_name()).ch(' ');
        let readonly = mount.flags().contains(MntFlags::RDONLY) || mount.sb().is_readonly();
        out.str(if readonly { "ro" } else { "rw" });
        let mut rest = Text::new();
        instance_options(&mut rest, mount);
        out.bytes(rest.finish().unwrap_or_default().get(2..).unwrap_or_default());
        mount_options(out, mount);
        special_options(out, mount);
        out.str(" 0 0\n");
    })
}

/// `/proc/PID/mountinfo`.
pub fn mountinfo(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let dirs = dirs_of(subject)?;
    each(subject, |mount, point| {
        let parent = mount.parent().map_or(mount.id(), |at| at.mnt.id());
        let dev = mount.sb().dev();
        out.dec(mount.id().into()).ch(' ').dec(parent.into()).ch(' ');
        out.dec(major(dev).into()).ch(':').dec(minor(dev).into()).ch(' ');
        out.escaped(&mount.root_text(), SPECIAL).ch(' ').escaped(point, SPECIAL);
        out.str(if mount.flags().contains(MntFlags::RDONLY) { " ro" } else { " rw" });
        mount_options(out, mount);
        let propagation = vfs::propagate::of(mount);
        // The nearest group up the chain of masters that the process sees, if that is not the first.
        let from = vfs::propagate::dominating(mount, &dirs.root, &dirs.ns);
        let from = if from == propagation.master { 0 } else { from };
        for (label, group) in
            [(" shared:", propagation.group), (" master:", propagation.master), (" propagate_from:", from)]
        {
            if group != 0 {
                out.str(label).dec(group.into());
            }
        }
        if propagation.unbindable {
            out.str(" unbindable");
        }
        out.str(" - ").str(mount.sb().fs_name()).ch(' ');
        source(out, mount);
        out.ch(' ');
        instance_options(out, mount);
        special_options(out, mount);
        out.ch('\n');
    })
}

/// `/proc/PID/mountstats`.
pub fn mountstats(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    each(subject, |mount, point| {
        if mount.source().is_empty() {
            out.str("no device");
        } else {
            out.str("device ").escaped(mount.source(), SPECIAL);
        }
        out.str(" mounted on ").escaped(point, SPECIAL).str(" with fstype ").str(mount.sb().fs_name()).ch('\n');
    })
}
