//! The guest test runner: real programs in guests, judged by what real Linux does.
//!
//! [`cases`] reads the tables in `tests/cases`, [`batch`] runs all cases of a table in one boot,
//! [`direct`], [`interactive`], [`hostile`] and [`faults`] are tests that need a boot of their own. [`tool`]
//! starts `./x run`. `./x test` sets everything up; see [`tool::Setting`] for how it says so.
#![forbid(unsafe_code)]

pub mod batch;
pub mod cases;
pub mod direct;
pub mod faults;
pub mod hostile;
pub mod interactive;
pub mod tool;
