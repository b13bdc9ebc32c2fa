//! The floors: a crate may use what lies on lower floors, and of its own floor only what is named
//! here. Cargo refuses cycles; this refuses shortcuts.

use super::Crate;
use std::path::Path;

/// Floor of each folder, lowest first; `fs/*` stands for every crate in it.
const FLOORS: &[(&str, u32)] = &[
    ("abi", 0),
    ("lib/*", 0),
    ("machine", 1),
    ("sched", 2),
    ("mm", 3),
    ("vfs", 3),
    ("random", 3),
    ("klog", 3),
    ("events", 4),
    ("ipc", 4),
    ("tty", 4),
    // Shows processes, so it lies above them.
    ("fs/procfs", 6),
    // Moves processes between groups.
    ("fs/cgroup", 6),
    ("fs/*", 4),
    ("block/*", 4),
    ("net/*", 4),
    ("bpf", 4),
    ("security/*", 4),
    ("task", 5),
    ("uring", 5),
    ("calls", 6),
    ("kernel", 7),
    ("tests/*", 8),
    ("tools/*", 8),
];

/// Uses within one floor that are part of the design: user, used.
const NEIGHBOURS: [(&str, &str); 7] = [
    ("vfs", "mm"),
    ("uring", "task"),
    // devtmpfs is a tmpfs whose nodes drivers register, terminals among them.
    ("fs/devtmpfs", "fs/tmpfs"),
    ("tty", "fs/devtmpfs"),
    // devpts shows the ptys of the terminal layer.
    ("fs/devpts", "tty"),
    ("fs/devpts", "fs/devtmpfs"),
    // Socket families plug into the socket layer.
    ("net/unix", "net/core"),
];

/// Complaints about uses that go up or sideways.
pub fn check(crates: &[Crate]) -> Vec<String> {
    let mut complaints = Vec::new();
    for user in crates {
        if is_outside(&user.folder) {
            continue;
        }
        let Some(own) = floor(&user.folder) else {
            complaints.push(format!("{}: no floor is known for this folder", user.folder.display()));
            continue;
        };
        for used in crates.iter().filter(|c| user.uses.contains(&c.name)) {
            let folders = (user.folder.to_string_lossy(), used.folder.to_string_lossy());
            let neighbours = NEIGHBOURS.iter().any(|(a, b)| (folders.0.as_ref(), folders.1.as_ref()) == (*a, *b));
            if floor(&used.folder).is_none_or(|f| f >= own) && !neighbours {
                complaints.push(format!("{} (floor {own}) uses {}", folders.0, folders.1));
            }
        }
    }
    complaints
}

/// The guest's first process and the test runner use nothing of the kernel.
fn is_outside(folder: &Path) -> bool {
    ["init", "tests"].iter().any(|f| folder == Path::new(f))
}

fn floor(folder: &Path) -> Option<u32> {
    let text = folder.to_string_lossy();
    FLOORS.iter().find_map(|(pattern, floor)| {
        let fits = match pattern.strip_suffix("/*") {
            Some(parent) => folder.parent() == Some(Path::new(parent)),
            None => text == *pattern,
        };
        fits.then_some(*floor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, folder: &str, uses: &[&str]) -> Crate {
        let uses = uses.iter().map(|u| (*u).to_owned()).collect();
        Crate { name: name.to_owned(), folder: folder.into(), uses }
    }

    #[test]
    fn only_lower_floors_and_named_neighbours_may_be_used() {
        let mm = || named("mm", "mm", &[]);
        assert!(check(&[mm(), named("vfs", "vfs", &["mm"])]).is_empty());
        assert!(check(&[named("mm", "mm", &["vfs"]), named("vfs", "vfs", &[])]).len() == 1);
        let fs = [named("a", "fs/a", &["b"]), named("b", "fs/b", &[])];
        assert_eq!(check(&fs).len(), 1);
        assert_eq!(check(&[named("x", "elsewhere", &[])]).len(), 1);
    }
}
