//! Failures of the tool itself: one line and an exit status.

use std::fmt::Display;

/// Exit status when the tool fails, as opposed to the command it runs (as container tools do).
pub const TOOL_FAILED: u8 = 125;

/// One line for the user, and the status to exit with.
#[derive(Debug)]
pub struct Failure {
    /// What was wrong and what to do about it.
    pub message: String,
    /// Exit status.
    pub code: u8,
}

/// Result of nearly everything here.
pub type Result<T> = std::result::Result<T, Failure>;

/// A failure with the tool's own status.
pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Failure { message: message.into(), code: TOOL_FAILED })
}

/// Says what was being done when an error came up.
pub trait Context<T> {
    /// `what: error`.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|e| Failure { message: format!("{what}: {e}"), code: TOOL_FAILED })
    }
}
