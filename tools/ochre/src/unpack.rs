//! Files as they are, or unpacked when their name says they are compressed.

use crate::fail::{Context, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A reader of the file's contents, through the decompressor its first bytes ask for.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let shown = path.display().to_string();
    let mut head = [0u8; 6];
    let mut file = File::open(path).context(&shown)?;
    let count = file.read(&mut head).context(&shown)?;
    let file = BufReader::with_capacity(1 << 20, File::open(path).context(&shown)?);
    Ok(match &head[..count] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(file, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(ruzstd::decoding::StreamingDecoder::new(file).context(&shown)?),
        _ => Box::new(file),
    })
}

/// The whole contents.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).context(path.display())?;
    Ok(bytes)
}
