//! Scheduling parameters.
