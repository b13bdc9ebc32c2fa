//! Who may print on a console: one word that says who owns it, with what right, and who waits for it.
//!
//! A message is printed by the console's own thread, but a warning or a panic cannot wait for that: it asks the owner for the
//! console, which the owner gives up between two pieces of text, and, in a panic, takes it when the owner does not answer. While a
//! piece goes out the word says *unsafe*: then even a panic first waits. Each step of the owner is a compare-and-exchange of the
//! word it left, so that it learns at the next step that it has lost the console, and stops in the middle of its line; the
//! record is then printed again from its start by whoever took over.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// The right with which a console is owned; the higher takes it from the lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// Ordinary messages, the output of terminals.
    Normal = 1,
    /// A warning that must not wait.
    Emergency = 2,
    /// The machine is about to end.
    Panic = 3,
}

const PRIO: u32 = 3;
/// The priority of who waits for a hand-over.
const WAITS: u32 = 3 << 2;
const UNSAFE: u32 = 1 << 4;
/// Taken from an owner in the middle of an unsafe step: the device may be in any state.
const TORN: u32 = 1 << 5;
const CPU_SHIFT: u32 = 8;

/// Times to look whether the owner gives the console up; in a panic a hundred times that.
const PATIENCE: u32 = 20_000;

/// A console that kernel messages go to.
pub struct Console {
    name: &'static str,
    write: fn(&[u8]),
    relax: fn(),
    word: AtomicU32,
    next: AtomicU64,
}

/// The right to print, as long as it lasts.
pub struct Owner<'a> {
    console: &'a Console,
    /// Priority and CPU: what of the word says that it is still ours.
    mine: u32,
}

/// The console was lost to someone with a higher priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

impl Console {
    /// A console that nobody owns. `write` puts a few bytes out and returns when they are; `relax` is called between two looks at who owns it.
    pub const fn new(name: &'static str, write: fn(&[u8]), relax: fn()) -> Console {
        Console { name, write, relax, word: AtomicU32::new(0), next: AtomicU64::new(0) }
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Number of the next record to print.
    pub fn next(&self) -> u64 {
        self.next.load(Acquire)
    }
    /// All before `to` are printed; no change if somebody else moved on from `from`, who printed them too.
    pub fn advance(&self, from: u64, to: u64) {
        let _ = self.next.compare_exchange(from, to, AcqRel, Relaxed);
    }
    /// Something prints on this CPU.
    pub fn is_owned_by(&self, cpu: u32) -> bool {
        let word = self.word.load(Acquire);
        word & PRIO != 0 && word >> CPU_SHIFT == cpu + 1
    }
    fn exchange(&self, old: u32, new: u32) -> bool {
        self.word.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    /// Takes the console: when it is free, by hand-over from an owner of lower priority, or, in a panic, by force.
    pub fn acquire(&self, priority: Priority, cpu: u32) -> Option<Owner<'_>> {
        let prio = priority as u32;
        let mine = prio | (cpu + 1) << CPU_SHIFT;
        let owner = || Some(Owner { console: self, mine });
        loop {
            let word = self.word.load(Acquire);
            let (holder, waits) = (word & PRIO, (word & WAITS) >> 2);
            if holder == 0 {
                // Whoever waits with a higher right comes first.
                if waits > prio {
                    return None;
                }
                if self.exchange(word, mine | word & TORN) {
                    return owner();
                }
                continue;
            }
            if holder >= prio || waits >= prio {
                return None;
            }
            // An owner that this very CPU interrupted cannot answer.
            if word >> CPU_SHIFT != cpu + 1 && self.wait_for_hand_over(word, prio, mine, priority) {
                return owner();
            }
            if priority != Priority::Panic {
                return None;
            }
            let word = self.word.load(Acquire);
            if self.exchange(word, mine | if word & UNSAFE != 0 { TORN } else { word & TORN }) {
                return owner();
            }
        }
    }

    /// Asks the owner to give up the console and waits a while; true when it is ours.
    fn wait_for_hand_over(&self, word: u32, prio: u32, mine: u32, priority: Priority) -> bool {
        if !self.exchange(word, word & !WAITS | prio << 2) {
            return false;
        }
        let patience = if priority == Priority::Panic { PATIENCE * 100 } else { PATIENCE };
        for _ in 0..patience {
            let word = self.word.load(Acquire);
            if (word & WAITS) >> 2 != prio {
                // Someone with a still higher right came.
                return false;
            }
            if word & PRIO == 0 && self.exchange(word, mine | word & TORN) {
                return true;
            }
            (self.relax)();
        }
        // No answer: the request is withdrawn.
        let _ = self.word.fetch_update(AcqRel, Relaxed, |w| ((w & WAITS) >> 2 == prio).then_some(w & !WAITS));
        false
    }
}

impl Owner<'_> {
    /// The word if it still says that the console is ours.
    fn word(&self) -> Result<u32, Lost> {
        let word = self.console.word.load(Acquire);
        if word & !(WAITS | UNSAFE | TORN) == self.mine { Ok(word) } else { Err(Lost) }
    }
    fn update(&self, change: impl Fn(u32) -> u32) -> Result<(), Lost> {
        loop {
            let word = self.word()?;
            if self.console.exchange(word, change(word)) {
                return Ok(());
            }
        }
    }
    /// Puts a text out, piece by piece; stops when someone with a higher right asks for the console or has taken it.
    pub fn print(&self, text: &[u8]) -> Result<(), Lost> {
        // What the transmitter of a serial port holds.
        for piece in text.chunks(16) {
            if (self.word()? & WAITS) >> 2 > self.mine & PRIO {
                return Err(Lost);
            }
            self.update(|w| w | UNSAFE)?;
            (self.console.write)(piece);
            self.update(|w| w & !UNSAFE)?;
        }
        Ok(())
    }
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        // Lost already: there is nothing to give up.
        let _ = self.update(|w| w & (WAITS | TORN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::vec::Vec;

    static OUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    fn console() -> Console {
        Console::new("test0", |bytes| OUT.lock().unwrap().extend_from_slice(bytes), std::thread::yield_now)
    }

    #[test]
    fn the_higher_right_wins_and_equals_wait() {
        let c = console();
        let normal = c.acquire(Priority::Normal, 0).unwrap();
        assert!(c.acquire(Priority::Normal, 1).is_none());
        // Nobody answers, and a warning does not use force.
        assert!(c.acquire(Priority::Emergency, 1).is_none());
        assert_eq!(normal.print(b"still ours"), Ok(()));
        let panic = c.acquire(Priority::Panic, 1).unwrap();
        assert_eq!(normal.print(b"lost"), Err(Lost));
        drop(normal);
        assert_eq!(panic.print(b"the end"), Ok(()));
        drop(panic);
        assert!(c.acquire(Priority::Normal, 0).is_some());
    }

    #[test]
    fn an_owner_hands_over_between_two_pieces() {
        let c = console();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                loop {
                    let owner = c.acquire(Priority::Normal, 0);
                    if done.load(SeqCst) {
                        break;
                    }
                    if let Some(owner) = owner {
                        while owner.print(&[b'x'; 64]).is_ok() && !done.load(SeqCst) {}
                    }
                }
            });
            let mut got = 0;
            while got < 20 {
                got += usize::from(c.acquire(Priority::Emergency, 1).is_some());
            }
            done.store(true, SeqCst);
        });
    }

    #[test]
    fn a_panic_takes_the_console_from_its_own_cpu_at_once() {
        let c = console();
        let normal = c.acquire(Priority::Normal, 3).unwrap();
        normal.update(|w| w | UNSAFE).unwrap();
        let panic = c.acquire(Priority::Panic, 3).unwrap();
        assert!(panic.word().unwrap() & TORN != 0);
        assert_eq!(normal.update(|w| w & !UNSAFE), Err(Lost));
    }
}
