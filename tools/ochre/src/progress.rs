//! Progress of what may take longer than two seconds: silent before that, and where standard
//! error is no terminal a plain line.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Shows that something goes on, from two seconds after its start until it is dropped.
pub struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    /// Starts the clock.
    pub fn start(what: impl Into<String>) -> Progress {
        let done = Arc::new(AtomicBool::new(false));
        let (what, stop) = (what.into(), done.clone());
        let thread = std::thread::spawn(move || show(&what, &stop));
        Progress { done, thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn show(what: &str, done: &AtomicBool) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if done.load(Ordering::Acquire) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    if !std::io::stderr().is_terminal() {
        eprintln!("ochre: {what} ...");
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    while !done.load(Ordering::Acquire) {
        bar.tick();
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}
