//! `/sys/devices/system/clocksource`: what the clocks count by. There is one source, the processor's time-stamp counter, so a program
//! that asks for another keeps this one, as it does on Linux if it asks for one that is not there.

use crate::tree::Node;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use vfs::SuperBlock;

const NAME: &str = "tsc";

/// Bytes of a name, with the one that ends it.
const NAME_SIZE: usize = 32;

fn name(text: &[u8]) -> Result<&[u8], Errno> {
    if text.is_empty() || text.len() >= NAME_SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(text.strip_suffix(b"\n").unwrap_or(text))
}

fn choose(text: &[u8]) -> Result<(), Errno> {
    name(text).map(|_| ())
}

/// Nothing could take the place of the only one.
fn unbind(text: &[u8]) -> Result<(), Errno> {
    Err(if name(text)? == NAME.as_bytes() { Errno::EBUSY } else { Errno::ENODEV })
}

/// The directory.
pub fn directory(sb: &Arc<SuperBlock>) -> Arc<Node> {
    let current = || [NAME, "\n"].concat();
    let files = vec![
        ("available_clocksource".into(), Node::text(sb, [NAME, " \n"].concat())),
        ("current_clocksource".into(), Node::knob(sb, 0o644, current, choose)),
        ("unbind_clocksource".into(), Node::knob(sb, 0o200, String::new, unbind)),
    ];
    Node::dir(sb, vec![("clocksource0".into(), Node::dir(sb, files))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_may_be_asked_for_but_the_only_source_stays() {
        assert_eq!((choose(b""), choose(&[b'a'; 32])), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!((choose(b"tsc\n"), choose(b"hpet")), (Ok(()), Ok(())));
        assert_eq!((unbind(b"tsc\n"), unbind(b"hpet")), (Err(Errno::EBUSY), Err(Errno::ENODEV)));
    }
}
