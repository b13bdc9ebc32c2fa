//! kbench's output: reading it, comparing two of them, and the Markdown table.
//!
//! A ratio is a cost: below 1 the new kernel is cheaper. Bandwidths (`MiB/...`) are inverted for it. `calib`, `boot` and `smp` enter no
//! total; `sys.nanosleep1` is mostly timer slack and is shown without a ratio.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Groups that a total is made of.
pub const JUDGED: [&str; 5] = ["sys", "file", "mem", "proc", "ipc"];
const NOT_JUDGED: &str = "sys.nanosleep1";

/// One kbench output: values in the order printed, and what gave no number.
#[derive(Default, Debug)]
pub struct Figures {
    order: Vec<String>,
    values: BTreeMap<String, (f64, String)>,
    words: BTreeMap<String, String>,
}

/// One line of a comparison.
#[derive(Debug)]
pub struct Line {
    /// `group.name`.
    pub name: String,
    /// Unit of both values.
    pub unit: String,
    /// Linux's value.
    pub base: f64,
    /// Ours; the word kbench printed where there is no number.
    pub new: Result<f64, String>,
    /// Cost ratio, for lines that are judged.
    pub ratio: Option<f64>,
}

impl Line {
    /// The part of the name before the dot.
    pub fn group(&self) -> &str {
        self.name.split('.').next().unwrap_or("")
    }
}

impl Figures {
    /// Reads kbench's lines `name value unit` or `name WORD`; other lines are ignored.
    pub fn parse(text: &str) -> Figures {
        let mut figures = Figures::default();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            if !name.contains('.') || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            match value.parse() {
                Ok(v) => {
                    figures.order.push(name.into());
                    figures.values.insert(name.into(), (v, words.next().unwrap_or("").into()));
                }
                Err(_) => {
                    figures.words.insert(name.into(), value.into());
                }
            }
        }
        figures
    }

    /// A value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).map(|v| v.0)
    }
}

/// Every line of `base` beside `new`.
pub fn compare(base: &Figures, new: &Figures) -> Vec<Line> {
    base.order
        .iter()
        .filter_map(|name| {
            let (b, unit) = base.values.get(name)?;
            let n = new.get(name).ok_or_else(|| new.words.get(name).cloned().unwrap_or_else(|| "missing".into()));
            let judged = !name.starts_with("boot.") && name != NOT_JUDGED && *b > 0.0;
            let ratio = n
                .as_ref()
                .ok()
                .filter(|n| judged && **n > 0.0)
                .map(|n| if unit.starts_with("MiB/") { b / n } else { n / b });
            Some(Line { name: name.clone(), unit: unit.clone(), base: *b, new: n, ratio })
        })
        .collect()
}

/// Geometric mean of the ratios of the lines `of` selects, with their number.
pub fn geomean(lines: &[Line], of: impl Fn(&Line) -> bool) -> Option<(f64, usize)> {
    let logs: Vec<f64> = lines.iter().filter(|l| of(l)).filter_map(|l| l.ratio).map(f64::ln).collect();
    (!logs.is_empty()).then(|| ((logs.iter().sum::<f64>() / logs.len() as f64).exp(), logs.len()))
}

/// The comparison as Markdown.
pub fn markdown(lines: &[Line], base_name: &str) -> String {
    let mut out = format!("| operation | {base_name} | Ochre | unit | ratio |\n|---|---:|---:|---|---:|\n");
    for l in lines {
        let new = match &l.new {
            Ok(v) => format!("{v:.1}"),
            Err(word) => word.clone(),
        };
        let ratio = l.ratio.map_or_else(|| "-".into(), |r| format!("{r:.2}"));
        let _ = writeln!(out, "| {} | {:.1} | {new} | {} | {ratio} |", l.name, l.base, l.unit);
    }
    out.push('\n');
    for group in JUDGED.iter().chain(&["net", "uring"]) {
        if let Some((mean, n)) = geomean(lines, |l| l.group() == *group) {
            let _ = writeln!(out, "- geometric mean of `{group}`: {mean:.3} ({n} lines)");
        }
    }
    if let Some((mean, n)) = geomean(lines, |l| JUDGED.contains(&l.group())) {
        let _ = writeln!(out, "- geometric mean of {}: **{mean:.3}** ({n} lines)", JUDGED.join(", "));
    }
    let worst = lines
        .iter()
        .filter(|l| JUDGED.contains(&l.group()))
        .filter_map(|l| Some((l.ratio?, &l.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((ratio, name)) = worst {
        let _ = writeln!(out, "- worst line: {name}, {ratio:.2}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "# c\nsys.getpid 200 insn\nipc.pipe_bw64k 100 MiB/Ginsn\nboot.idle 1 s\nnet.udp_pp 5 insn\n";

    #[test]
    fn ratios_are_costs_and_bandwidths_are_inverted() {
        let new =
            Figures::parse("sys.getpid 100 insn\nipc.pipe_bw64k 400 MiB/Ginsn\nboot.idle 1 s\nnet.udp_pp ENOSYS\n");
        let lines = compare(&Figures::parse(BASE), &new);
        let ratio = |i: usize| lines[i].ratio;
        assert_eq!((ratio(0), ratio(1), ratio(2), ratio(3)), (Some(0.5), Some(0.25), None, None));
        assert_eq!(lines[3].new, Err("ENOSYS".into()));
        let (mean, n) = geomean(&lines, |l| JUDGED.contains(&l.group())).expect("two lines");
        assert!((mean - 0.125f64.sqrt()).abs() < 1e-9 && n == 2);
        assert!(markdown(&lines, "Linux").contains("| net.udp_pp | 5.0 | ENOSYS | insn | - |"));
    }
}
