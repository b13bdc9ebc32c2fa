//! Rules about the text of the sources.

use super::Crate;
use crate::fail::{Context, Result};
use std::path::{Path, PathBuf};

const LONGEST: usize = 800;

/// `unsafe` only in crates the root manifest names; every other one forbids it to the compiler.
pub fn check_unsafe(root: &Path, crates: &[Crate]) -> Result<Vec<String>> {
    let allowed = allowed(root)?;
    let mut complaints = Vec::new();
    for one in crates {
        let may = allowed.contains(&one.name);
        for file in sources(&root.join(&one.folder), crates, root) {
            let text = std::fs::read_to_string(&file).context(file.display())?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display();
            if !may {
                for (number, _) in unsafe_lines(&text) {
                    complaints.push(format!("{shown}:{number}: unsafe in a crate that is not named in Cargo.toml"));
                }
                // The image's entry is named by a macro of the machine layer, whose exported symbol
                // the compiler counts as unsafe code; such a file holds nothing else.
                let names_entry = text.contains("machine::entry!") && text.lines().count() < 20;
                if is_crate_root(&file) && !text.contains("#![forbid(unsafe_code)]") && !names_entry {
                    complaints.push(format!("{shown}: `#![forbid(unsafe_code)]` is missing"));
                }
            }
            for (number, line) in unsafe_lines(&text) {
                if needs_reason(line) && !has_reason(&text, number) {
                    complaints.push(format!("{shown}:{number}: no `// SAFETY:` says why this is sound"));
                }
            }
        }
    }
    Ok(complaints)
}

/// Files over the cap.
pub fn check_length(root: &Path, crates: &[Crate]) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for one in crates {
        for file in sources(&root.join(&one.folder), crates, root) {
            let lines = std::fs::read_to_string(&file).context(file.display())?.lines().count();
            if lines > LONGEST {
                let shown = file.strip_prefix(root).unwrap_or(&file).display();
                complaints.push(format!("{shown}: {lines} lines; {LONGEST} is the cap"));
            }
        }
    }
    Ok(complaints)
}

/// The published figure: how much of the kernel is in crates that may be unsafe.
pub fn unsafe_share(root: &Path, crates: &[Crate]) -> Result<String> {
    let allowed = allowed(root)?;
    let (mut all, mut trusted) = (0, 0);
    for one in crates.iter().filter(|c| !["init", "tests", "tools"].iter().any(|f| c.folder.starts_with(f))) {
        let mut lines = 0;
        for file in sources(&root.join(&one.folder), crates, root) {
            lines += std::fs::read_to_string(&file).context(file.display())?.lines().count();
        }
        all += lines;
        if allowed.contains(&one.name) {
            trusted += lines;
        }
    }
    let tenths = trusted * 1000 / all.max(1);
    Ok(format!("kernel: {all} lines, {}.{} % of them in crates that may contain unsafe", tenths / 10, tenths % 10))
}

/// The names in the manifest's table.
fn allowed(root: &Path) -> Result<Vec<String>> {
    let file = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&file).context(file.display())?;
    let table = text.split("[workspace.metadata.ochre.unsafe-allowed]").nth(1).unwrap_or_default();
    let rows = table.lines().skip(1).take_while(|l| !l.starts_with('['));
    let names = rows.filter_map(|l| l.split_once('=')).map(|(name, _)| name.trim().trim_matches('"').to_owned());
    Ok(names.collect())
}

/// The crate's Rust files, without those of crates in its subfolders.
fn sources(folder: &Path, crates: &[Crate], root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let is_other_crate = crates.iter().any(|c| root.join(&c.folder) == path);
        if path.is_dir() && !is_other_crate && !path.ends_with("target") {
            files.extend(sources(&path, crates, root));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn is_crate_root(file: &Path) -> bool {
    let in_src = file.parent().is_some_and(|p| p.ends_with("src") || p.ends_with("src/bin"));
    let name = file.file_name().unwrap_or_default();
    in_src && (name == "lib.rs" || name == "main.rs")
}

/// Lines that use the keyword, with their numbers.
fn unsafe_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        let is_word = |at: usize| {
            let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '"' || c == '`';
            let before = code[..at].chars().next_back();
            let after = code[at + "unsafe".len()..].chars().next();
            !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
        };
        let used = code.match_indices("unsafe").any(|(at, _)| is_word(at) && !in_string(code, at));
        used.then_some((index + 1, code))
    })
}

/// Whether an odd number of quotes stands before this place of the line.
fn in_string(code: &str, at: usize) -> bool {
    code[..at].matches('"').count() % 2 == 1
}

/// Blocks and implementations; a declaration of an unsafe function states a duty, it does not
/// claim one is fulfilled.
fn needs_reason(line: &str) -> bool {
    line.contains("unsafe {") || line.contains("unsafe impl")
}

/// A `// SAFETY:` in the comment above the statement this line belongs to, or on the line itself.
fn has_reason(text: &str, number: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    if lines.get(number - 1).is_some_and(|l| l.contains("SAFETY:")) {
        return true;
    }
    // The statement may begin some lines above, and macros and attributes may stand between.
    const REACH: usize = 12;
    let above = lines.get(..number - 1).unwrap_or_default().iter().rev().take(REACH);
    above.take_while(|l| !l.trim().is_empty()).any(|l| l.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_is_told_from_names_and_comments() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nlet s = \"unsafe\";\nunsafe { f() }\n";
        let numbers: Vec<usize> = unsafe_lines(text).map(|(n, _)| n).collect();
        assert_eq!(numbers, [4]);
    }

    #[test]
    fn a_block_needs_its_reason_nearby() {
        let good = "fn f() {\n    // SAFETY: g is fine.\n    let x =\n        unsafe { g() };\n}\n";
        assert!(has_reason(good, 4));
        assert!(!has_reason("// SAFETY: of another\n\nunsafe { g() }\n", 3));
    }
}
