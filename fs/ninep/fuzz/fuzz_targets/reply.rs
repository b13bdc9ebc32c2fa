//! Any bytes as a reply of the server, parsed as every kind of reply: an error or values within their limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ochre_ninep::wire::reply::{self, Reader};
use ochre_ninep::wire::{MAX_WALK, kind};

fuzz_target!(|data: &[u8]| {
    let Some((&[request, written], reply)) = data.split_first_chunk::<2>() else { return };
    let tag = reply.get(5..7).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    for kind in [request, kind::TREAD, kind::TWALK, kind::TGETATTR, kind::TVERSION] {
        let Ok((size, body)) = reply::open(reply, usize::from(written) * 64, kind, tag) else { continue };
        let _ = reply::version(body);
        let _ = reply::qid(body);
        let _ = reply::opened(body);
        let _ = reply::attr(body);
        let _ = reply::statfs(body);
        let _ = reply::text(body);
        let _ = reply::lock(body);
        assert!(reply::walk(body).is_ok_and(|qids| qids.len() <= MAX_WALK) || reply::walk(body).is_err());
        assert!(reply::data_count(body, size, 4096).unwrap_or(0) <= 4096);
    }
    let mut entries = Reader::new(reply);
    while let Some(Ok(entry)) = reply::dir_entry(&mut entries) {
        assert!((1..=255).contains(&entry.name.len()) && !entry.name.contains(&b'/'));
    }
});
