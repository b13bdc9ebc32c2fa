//! The guest's serial line: kernel messages, to a log file and, if asked for, to standard error.

use crate::symbols::{Symbols, address_digits};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Where the messages go.
pub struct SerialLog {
    /// The log file of this run.
    pub path: PathBuf,
    /// Also to standard error.
    pub verbose: bool,
    /// The image whose addresses may occur.
    pub kernel: PathBuf,
}

/// The thread that reads the line.
pub struct Serial {
    path: PathBuf,
    tail: Arc<Mutex<VecDeque<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Serial {
    /// Starts reading. `raw`: the terminal needs carriage returns.
    pub fn start(port: UnixStream, log: SerialLog, raw: bool) -> Serial {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (path, lines) = (log.path.clone(), tail.clone());
        let thread = Some(std::thread::spawn(move || read_lines(port, &log, raw, &lines)));
        Serial { path, tail, thread }
    }

    /// The log file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the line is closed.
    pub fn wait_for_end(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The line that explains a kernel's end best: its panic, or else its last one.
    pub fn last_words(&self) -> Option<String> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let panic = tail.iter().find(|l| l.to_ascii_lowercase().contains("panic"));
        panic.or(tail.back()).cloned()
    }

    /// Ends the log: the file of a good run becomes `last.log`, that of a failure keeps its name.
    pub fn finish(&mut self, failed: bool) {
        self.wait_for_end();
        if !failed {
            let _ = std::fs::rename(&self.path, self.path.with_file_name("last.log"));
        }
    }
}

fn read_lines(mut port: UnixStream, log: &SerialLog, raw: bool, tail: &Mutex<VecDeque<String>>) {
    let mut file = File::create(&log.path).ok();
    let mut symbols = None;
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = port.read(&mut chunk) {
        for byte in &chunk[..count] {
            match *byte {
                b'\r' => {}
                b'\n' => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    line.clear();
                    emit(text, log, raw, &mut file, &mut symbols, tail);
                }
                byte => line.push(byte),
            }
        }
    }
    if !line.is_empty() {
        let text = String::from_utf8_lossy(&line).into_owned();
        emit(text, log, raw, &mut file, &mut symbols, tail);
    }
}

fn emit(
    mut text: String,
    log: &SerialLog,
    raw: bool,
    file: &mut Option<File>,
    symbols: &mut Option<Symbols>,
    tail: &Mutex<VecDeque<String>>,
) {
    const KEPT: usize = 64;
    if address_digits(&text).is_some() {
        let symbols = symbols.get_or_insert_with(|| Symbols::load(&log.kernel));
        if let Some(explained) = symbols.explain(&text) {
            text = explained;
        }
    }
    if let Some(file) = file {
        let _ = writeln!(file, "{text}");
    }
    if log.verbose {
        let end = if raw { "\r\n" } else { "\n" };
        eprint!("{text}{end}");
    }
    if !text.trim().is_empty() {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == KEPT {
            tail.pop_front();
        }
        tail.push_back(text);
    }
}
