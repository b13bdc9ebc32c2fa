//! A radix tree from page index to value, built of 64-way nodes: sparse, ordered, cheap to walk in runs.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
