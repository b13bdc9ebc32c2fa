//! The compatibility page, `docs/calls.md`, made from the rows: `cargo run -p ochre-kernel` on a host prints it.

use super::{ROWS, Support};
use alloc::string::String;
use core::fmt::Write;

/// Every row as a Markdown table.
pub fn markdown() -> String {
    let full = ROWS.iter().filter(|r| r.support == Support::Full).count();
    let mut out = String::from(
        "# System calls\n\nMade from the call table (`kernel/src/table/rows.rs`) by `cargo run -p ochre-kernel`.\n\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} system calls of x86-64 Linux, {full} of them in full. Every other number returns `ENOSYS`.\n\n| nr | call | support | manual page | test |\n|---:|---|---|---|---|",
        ROWS.len()
    );
    for row in ROWS {
        let support = match row.support {
            Support::Full => "full",
            Support::Partial(missing) => missing,
        };
        let lack = if row.support == Support::Full { "" } else { "without: " };
        let _ = writeln!(out, "| {} | {} | {lack}{support} | {} | {} |", row.nr, row.name, row.man, row.test);
    }
    out
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{ROWS, markdown};
    use alloc::string::String;
    use std::path::Path;

    fn file(name: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name))
            .expect("the file is in the tree")
    }

    #[test]
    fn the_page_in_the_tree_is_the_one_the_table_gives() {
        assert!(file("docs/calls.md") == markdown(), "run: cargo run -p ochre-kernel > docs/calls.md");
    }

    #[test]
    fn the_readme_states_the_number_of_rows() {
        let count = alloc::format!("{} system calls", ROWS.len());
        assert!(file("README.md").contains(&count), "the README shall say `{count}`");
    }
}
