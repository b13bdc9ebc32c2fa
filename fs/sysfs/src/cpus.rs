//! `/sys/devices/system/cpu`.

use crate::tree::Node;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::SuperBlock;

/// The directory with one entry a processor. All present processors are online, in one package, one thread a core.
pub fn directory(sb: &Arc<SuperBlock>) -> Arc<Node> {
    let count = machine::cpu::count();
    let all = range(count);
    let file = |text: &str| Node::text(sb, format!("{text}\n"));
    let mut entries: Vec<(String, Arc<Node>)> = Vec::new();
    for (name, text) in [
        ("kernel_max", format!("{}", machine::cpu::MAX_CPUS - 1)),
        ("offline", String::new()),
        ("online", all.clone()),
        ("possible", all.clone()),
        ("present", all.clone()),
    ] {
        entries.push((name.into(), file(&text)));
    }
    for cpu in 0..count {
        let topology = [
            ("core_cpus_list", format!("{cpu}")),
            ("core_id", format!("{cpu}")),
            ("core_siblings_list", all.clone()),
            ("package_cpus_list", all.clone()),
            ("physical_package_id", "0".into()),
            ("thread_siblings_list", format!("{cpu}")),
        ];
        let topology = topology.iter().map(|(name, text)| ((*name).into(), file(text))).collect();
        let entry = Node::dir(sb, alloc::vec![("topology".into(), Node::dir(sb, topology))]);
        entries.push((format!("cpu{cpu}"), entry));
    }
    Node::dir(sb, entries)
}

/// `0` or `0-3`.
fn range(count: usize) -> String {
    match count {
        0 | 1 => "0".into(),
        more => format!("0-{}", more - 1),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn processor_lists_are_ranges() {
        assert_eq!((super::range(1), super::range(4)), ("0".into(), "0-3".into()));
    }
}
