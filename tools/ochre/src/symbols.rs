//! Addresses of a kernel backtrace turned into functions and lines.

use std::path::Path;

/// The kernel's symbols; loaded when the first address comes.
pub struct Symbols {
    loader: Option<addr2line::Loader>,
}

impl Symbols {
    /// Reads the image's debug information; without any, addresses stay as they are.
    pub fn load(kernel: &Path) -> Symbols {
        Symbols { loader: addr2line::Loader::new(kernel).ok() }
    }

    /// The function that was compiled at this address: the outermost one of those inlined there.
    pub fn function(&self, address: u64) -> Option<String> {
        self.loader.as_ref()?.find_symbol(address).map(|name| addr2line::demangle_auto(name.into(), None).into_owned())
    }

    /// The line with `function (file:line)` after the address, if it is one of a backtrace:
    /// `  at 0xffffffff80012345`.
    pub fn explain(&self, line: &str) -> Option<String> {
        let digits = address_digits(line)?;
        let address = u64::from_str_radix(digits, 16).ok()?;
        let mut frames = self.loader.as_ref()?.find_frames(address).ok()?;
        let mut explained = line.trim_end().to_owned();
        let mut any = false;
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.demangle().ok().map(|n| n.into_owned()));
            let place = frame.location.as_ref().map(|l| {
                let file = l.file.unwrap_or("?");
                let file = file.rsplit_once("/ochre/").map_or(file, |(_, f)| f);
                format!(" ({file}:{})", l.line.unwrap_or(0))
            });
            let link = if any { "\n      inlined in" } else { "" };
            explained.push_str(link);
            explained.push(' ');
            explained.push_str(name.as_deref().unwrap_or("?"));
            explained.push_str(place.as_deref().unwrap_or_default());
            any = true;
        }
        any.then_some(explained)
    }
}

/// Whether this line wants explaining.
pub fn address_digits(line: &str) -> Option<&str> {
    // Without the time stamp of kernel messages.
    let line = line.strip_prefix('[').and_then(|l| l.split_once("] ")).map_or(line, |(_, l)| l);
    let rest = line.trim_start().strip_prefix("at 0x")?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    let digits = rest.get(..end)?;
    digits.starts_with("ffffffff").then_some(digits)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_kernel_addresses_are_backtrace_lines() {
        use super::address_digits;
        assert_eq!(address_digits("  at 0xffffffff80100010\r"), Some("ffffffff80100010"));
        assert_eq!(address_digits("[    1.5] at 0xffffffff80100010"), Some("ffffffff80100010"));
        assert_eq!(address_digits("look at 0xffffffff80100010"), None);
        assert_eq!(address_digits("at 0x400000"), None);
    }
}
