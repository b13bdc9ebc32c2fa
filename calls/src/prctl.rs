//! Attributes of threads and processes.
