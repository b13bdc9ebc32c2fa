//! Any bytes written to any file of /proc/sys are taken or refused. A test program of its own, since what is taken changes the kernel.

use ochre_procfs::root::{Entry, TextEntry};
use ochre_procfs::sysctl::ENTRIES;
use ochre_procfs::text::Text;
use proptest::prelude::*;

/// Calls `each` with the path of every file that can be written.
fn for_each_setting(path: &str, entries: &'static [Entry], each: &mut dyn FnMut(&str, &'static TextEntry)) {
    for entry in entries {
        let path = format!("{path}/{}", entry.name());
        match entry {
            Entry::Text(file) if file.store.is_some() => each(&path, file),
            Entry::Dir(_, entries) => for_each_setting(&path, entries, each),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::collection::vec(proptest::sample::select(b"0129x- \n\t\0%|/@".to_vec()), 0..30),
        ],
    ) {
        let mut files = 0;
        for_each_setting("/proc/sys", ENTRIES, &mut |path, file| {
            files += 1;
            let taken = file.store.is_some_and(|store| store(&bytes).is_ok());
            // What was taken can be shown.
            let shown = (file.show)(&mut Text::new());
            assert!(!taken || shown.is_ok(), "{path}: {shown:?} after {}", bytes.escape_ascii());
        });
        prop_assert!(files > 20);
    }
}
