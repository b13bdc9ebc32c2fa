//! The engine of poll and select: look at every file; if none is ready, subscribe to all, sleep, look again.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::*};
use sched::{Instant, Listener, Thread, WaitError};
use smallvec::SmallVec;
use vfs::{FdTable, File, PollEvents, PollTable};

/// A thread that waits for several files.
struct Waiter {
    thread: Arc<Thread>,
    told: AtomicBool,
}

impl Listener for Waiter {
    fn notify(&self, _key: u64) -> bool {
        self.told.store(true, Release);
        self.thread.wake()
    }
}

/// One file to wait for.
pub struct Entry {
    /// The file; `None` is never ready.
    pub file: Option<Arc<File>>,
    /// What to wait for; errors and hang-ups always count.
    pub wanted: PollEvents,
    /// What it is ready for; may be preset for entries without a file.
    pub ready: PollEvents,
}

/// Files to wait for; short lists stay on the stack.
pub type Entries = SmallVec<[Entry; 4]>;

const ALWAYS: PollEvents = PollEvents::ERR.union(PollEvents::HUP);

impl Entry {
    /// The entry of a descriptor as poll(2) has it: a negative one is skipped, one that is not open gives `NVAL`.
    pub fn of_fd(files: &Arc<FdTable>, fd: i32, wanted: PollEvents) -> Entry {
        if fd < 0 {
            return Entry { file: None, wanted, ready: PollEvents::empty() };
        }
        match files.get(fd) {
            Ok(file) => Entry { file: Some(file), wanted, ready: PollEvents::empty() },
            Err(_) => Entry { file: None, wanted, ready: PollEvents::NVAL },
        }
    }
    #[inline]
    fn look(&mut self, table: &mut PollTable) -> bool {
        if let Some(file) = &self.file {
            self.ready = file.ops().poll(file, table) & (self.wanted | ALWAYS);
        }
        !self.ready.is_empty()
    }
}

fn scan(entries: &mut [Entry], table: &mut PollTable) -> usize {
    let mut count = 0;
    for entry in entries {
        if entry.look(table) {
            count += 1;
            // One is enough to return at once: no need to be told of the others.
            table.stop();
        }
    }
    count
}

/// Waits until an entry is ready or `deadline` has passed (`Some(0)`: only looks; `None`: for ever). Returns how many are
/// ready, or `Err` when a signal came first.
pub fn wait(entries: &mut [Entry], deadline: Option<Instant>) -> Result<usize, sched::Interrupted> {
    let count = scan(entries, &mut PollTable::none());
    if count != 0 || deadline == Some(0) {
        return Ok(count);
    }
    let waiter = Arc::new(Waiter { thread: sched::current(), told: AtomicBool::new(false) });
    let mut table = PollTable::with(waiter.clone());
    let mut count = scan(entries, &mut table);
    table.stop();
    while count == 0 {
        match sched::park(deadline, || waiter.told.swap(false, AcqRel).then_some(())) {
            Ok(()) => count = scan(entries, &mut PollTable::none()),
            Err(WaitError::TimedOut) => return Ok(scan(entries, &mut PollTable::none())),
            Err(WaitError::Interrupted) => {
                // What is ready by now is reported rather than the signal.
                return match scan(entries, &mut PollTable::none()) {
                    0 => Err(sched::Interrupted),
                    n => Ok(n),
                };
            }
        }
    }
    Ok(count)
}

/// What select(2) takes a descriptor in one of its sets to wait for.
const SELECT_IN: PollEvents = PollEvents::READABLE.union(PollEvents::RDBAND).union(ALWAYS);
const SELECT_OUT: PollEvents = PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR);
const SELECT_EX: PollEvents = PollEvents::PRI;

/// The three sets of select(2), as words of 64 descriptors.
#[derive(Default)]
pub struct Sets {
    /// For reading, for writing, for exceptions.
    pub words: [Vec<u64>; 3],
}

/// select(2): waits, and leaves in `sets` only what is ready. Returns how many bits are set.
pub fn select(files: &Arc<FdTable>, n: usize, sets: &mut Sets, deadline: Option<Instant>) -> Result<usize, Errno> {
    let kinds = [SELECT_IN, SELECT_OUT, SELECT_EX];
    let mut entries = Entries::new();
    let mut fds: SmallVec<[u32; 8]> = SmallVec::new();
    for word in 0..n.div_ceil(64) {
        let [r, w, x] = [0, 1, 2].map(|set: usize| sets.words[set].get(word).copied().unwrap_or(0));
        let mut bits = (r | w | x) & if n - word * 64 >= 64 { u64::MAX } else { (1 << (n % 64)) - 1 };
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            let mut wanted = PollEvents::empty();
            for (kind, set) in kinds.iter().zip([r, w, x]) {
                wanted.set(*kind, set & 1 << bit != 0);
            }
            let fd = word as u32 * 64 + bit;
            // A descriptor of a mere place is open, and "ready" in that it can never be waited for.
            let file = files.get_any(fd as i32)?;
            let (file, ready) = match file.is_path_only() {
                true => (None, wanted),
                false => (Some(file), PollEvents::empty()),
            };
            entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            fds.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            entries.push(Entry { file, wanted, ready });
            fds.push(fd);
        }
    }
    wait(&mut entries, deadline).map_err(|_| Errno::ERESTARTNOHAND)?;
    let mut count = 0;
    let asked = core::mem::take(&mut sets.words);
    for (set, words) in sets.words.iter_mut().zip(&asked) {
        set.try_reserve_exact(words.len()).map_err(|_| Errno::ENOMEM)?;
        set.resize(words.len(), 0);
    }
    for (entry, fd) in entries.iter().zip(&fds) {
        let (word, bit) = (*fd as usize / 64, 1u64 << (fd % 64));
        for ((kind, asked), out) in kinds.iter().zip(&asked).zip(&mut sets.words) {
            let was_asked = asked.get(word).is_some_and(|w| w & bit != 0);
            if was_asked
                && entry.ready.intersects(*kind)
                && let Some(out) = out.get_mut(word)
            {
                *out |= bit;
                count += 1;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd;
    use abi::poll::EventfdFlags;
    use alloc::boxed::Box;
    use mm::io::Src;
    use vfs::Cred;

    fn entry(file: &Arc<File>, wanted: PollEvents) -> Entry {
        Entry { file: Some(file.clone()), wanted, ready: PollEvents::empty() }
    }

    #[test]
    fn a_sleeping_poll_is_woken_by_the_file_that_becomes_ready() {
        let files = [0, 0].map(|n| eventfd::create(n, EventfdFlags::empty(), &Cred::root()));
        let mut entries = files.each_ref().map(|f| entry(f, PollEvents::IN));
        assert_eq!(wait(&mut entries, Some(0)), Ok(0));
        assert_eq!(wait(&mut entries, Some(sched::now() + 1_000_000)), Ok(0));
        let second = files[1].clone();
        let poke = move || {
            sched::sleep_until(sched::now() + 1_000_000).expect("no signal");
            second.write(&mut Src::kernel(&1u64.to_ne_bytes()), u64::MAX).expect("it has room");
        };
        sched::spawn("poker", None, Box::new(poke)).expect("memory").start();
        assert_eq!(wait(&mut entries, None), Ok(1));
        assert_eq!(entries.each_ref().map(|e| e.ready), [PollEvents::empty(), PollEvents::IN]);
    }

    #[test]
    fn select_counts_bits_and_clears_what_is_not_ready() {
        let files = FdTable::new();
        let file = eventfd::create(0, EventfdFlags::empty(), &Cred::root());
        let fd = files.install(file, false, 100).expect("room");
        let bit = 1u64 << fd;
        let mut sets = Sets { words: [alloc::vec![bit], alloc::vec![bit], alloc::vec![]] };
        assert_eq!(select(&files, fd as usize + 1, &mut sets, None), Ok(1));
        assert_eq!(sets.words, [alloc::vec![0], alloc::vec![bit], alloc::vec![]]);
        let mut sets = Sets { words: [alloc::vec![bit << 1], alloc::vec![], alloc::vec![]] };
        assert_eq!(select(&files, fd as usize + 2, &mut sets, None), Err(Errno::EBADF));
        assert_eq!(select(&files, fd as usize + 1, &mut sets, Some(0)), Ok(0));
    }
}
