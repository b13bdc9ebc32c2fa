use super::*;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::sync::atomic::AtomicBool;
use std::thread;

fn meta(n: u64) -> Meta {
    Meta { priority: (n % 8) as u32, caller: 7, time_ns: n }
}

fn text<const S: usize, const W: usize>(ring: &LogRing<S, W>, from: u64) -> Option<(u64, String)> {
    let mut buf = [0; 256];
    let r = ring.read(from, &mut buf)?;
    Some((r.seq, String::from_utf8(buf[..r.len].to_vec()).unwrap()))
}

#[test]
fn records_come_back_in_order_with_what_is_known_of_them() {
    let ring = LogRing::<8, 64>::new();
    assert_eq!(ring.range(), (0, 0));
    assert_eq!(ring.read(0, &mut []), None);
    for (n, t) in ["one", "", "three, longer than one word"].iter().enumerate() {
        assert_eq!(ring.push(meta(n as u64), t.as_bytes()), Some(n as u64));
    }
    assert_eq!(ring.range(), (0, 3));
    assert_eq!(text(&ring, 2), Some((2, "three, longer than one word".into())));
    let mut buf = [0; 2];
    assert_eq!(ring.read(0, &mut buf), Some(Record { seq: 0, meta: meta(0), len: 3 }));
    assert_eq!(&buf, b"on");
    assert_eq!(text(&ring, 3), None);
}

#[test]
fn old_records_give_way_when_numbers_or_words_run_out() {
    let ring = LogRing::<8, 64>::new();
    for n in 0..20 {
        ring.push(meta(n), format!("{n}").as_bytes());
    }
    assert_eq!(ring.range(), (12, 20));
    assert_eq!(text(&ring, 0), Some((12, "12".into())));
    // Sixty bytes take fifteen of the 64 words: the ring keeps four.
    for n in 0..6 {
        ring.push(meta(n), &[b'a' + n as u8; 60]);
    }
    assert_eq!(text(&ring, 0).map(|(seq, t)| (seq, t.len())), Some((22, 60)));
    // An empty text has no words to lose.
    assert_eq!(ring.range().1, 26);
}

#[test]
fn a_text_is_cut_to_a_quarter_of_the_ring() {
    let ring = LogRing::<8, 64>::new();
    ring.push(meta(0), &[b'x'; 1000]);
    assert_eq!(text(&ring, 0).map(|(_, t)| t.len()), Some(64));
}

#[test]
fn a_writer_that_stands_still_blocks_only_its_own_slot() {
    let ring = LogRing::<4, 64>::new();
    let stuck = ring.reserve().unwrap();
    for n in 1..4 {
        assert_eq!(ring.push(meta(n), b"x"), Some(n));
    }
    // What is being written ends what can be read.
    assert_eq!(ring.range(), (0, 0));
    assert_eq!(text(&ring, 0), None);
    assert_eq!(ring.push(meta(4), b"dropped"), None);
    assert_eq!(ring.dropped(), 1);
    ring.slot(stuck).state.store(committed(stuck), Release);
    assert_eq!(ring.push(meta(4), b"y"), Some(4));
}

#[test]
fn a_late_writer_does_not_damage_newer_text() {
    let ring = LogRing::<8, 16>::new();
    let late = ring.head.fetch_add(1, Relaxed);
    for n in 0..16 {
        ring.push(meta(n), b"new!");
    }
    ring.put(late, b"old!");
    assert!((ring.range().0..16).all(|seq| text(&ring, seq) == Some((seq, "new!".into()))));
}

#[test]
fn readers_among_many_writers_see_only_whole_records() {
    let ring = Box::new(LogRing::<64, 512>::new());
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        let writers: std::vec::Vec<_> = (0..4u32)
            .map(|w| {
                let ring = &ring;
                s.spawn(move || {
                    for n in 0..20_000u64 {
                        let letter = b'a' + w as u8;
                        let len = 1 + (n % 40) as usize;
                        ring.push(Meta { priority: len as u32, caller: w, time_ns: n }, &std::vec![letter; len]);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            s.spawn(|| {
                let (mut next, mut buf) = (0, [0; 64]);
                while !done.load(Relaxed) {
                    while let Some(r) = ring.read(next, &mut buf) {
                        assert!(r.seq >= next);
                        assert_eq!(r.len, r.meta.priority as usize);
                        assert!(buf[..r.len].iter().all(|b| *b == b'a' + r.meta.caller as u8));
                        next = r.seq + 1;
                    }
                }
            });
        }
        for w in writers {
            w.join().unwrap();
        }
        done.store(true, Relaxed);
    });
    let (_, next) = ring.range();
    assert_eq!(next + ring.dropped(), 80_000);
}
