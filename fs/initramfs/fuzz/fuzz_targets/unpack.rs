//! Any bytes as a boot image: an error or entries, never a panic, and never more entries than the image has room for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ochre_abi::Errno;
use ochre_initramfs::{Kind, Meta, Tree, unpack};

/// A tree that takes everything and counts.
#[derive(Default)]
struct Sink {
    entries: usize,
}

impl Tree for Sink {
    fn make(&mut self, _: &[u8], _: &Meta, _: Kind<'_>) -> Result<(), Errno> {
        self.entries += 1;
        Ok(())
    }
    fn link(&mut self, _: &[u8], _: &[u8], _: &Meta, _: Option<&[u8]>) -> Result<(), Errno> {
        self.entries += 1;
        Ok(())
    }
    fn set_dir_time(&mut self, _: &[u8], _: u32) {}
}

fuzz_target!(|image: &[u8]| {
    let mut sink = Sink::default();
    if let Ok(counts) = unpack(image, &mut sink) {
        assert_eq!(counts.entries, sink.entries);
    }
});
