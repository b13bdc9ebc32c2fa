//! Single calls with arguments drawn at random: `same-errors GROUP [CALL]` makes the calls of a group of `calls.list`, each in a process
//! of its own with the same few files, and prints how they ended, a line a call. Linux's answers are stored, so what is
//! compared is which error a call gives and in which order it looks at its arguments. With CALL it prints the arguments of
//! that call's probes too.
//!
//! Only what does not depend on the machine is drawn: no sizes near the end of the address space, no paths of the root file
//! system, nothing that Ochre lacks altogether (see `arguments`).

mod arguments;
mod probe;

use arguments::{Kind, Targets};
use ochre_guest::Rng;
use ochre_kernel::table::ROWS;
use probe::Ending;

/// Probes of each line of the list.
const PROBES: u64 = 24;

/// A line of the list.
struct Line {
    name: &'static str,
    nr: u32,
    kinds: Vec<Kind>,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let group = args.next().expect("a group of calls.list");
    let shown = args.next();
    let targets = Targets::map();
    for (index, line) in lines(&group).iter().enumerate() {
        if shown.as_ref().is_some_and(|name| name != line.name) {
            continue;
        }
        let mut endings: Vec<String> = Vec::new();
        for number in 0..PROBES {
            let mut rng = Rng::new(u64::from(line.nr) << 32 | (index as u64) << 16 | number);
            targets.fill(&mut rng);
            let mut values = [0; 6];
            values.fill_with(|| arguments::anything(&mut rng));
            for (value, kind) in values.iter_mut().zip(&line.kinds) {
                *value = arguments::draw(&mut rng, *kind);
            }
            let ending = probe::run(line.nr, values);
            if shown.is_some() {
                println!("{number:2} {} = {ending}", arguments::describe(&values));
            }
            endings.push(ending.to_string());
        }
        println!("{}: {}", line.name, endings.join(" "));
    }
}

/// The lines of a group.
fn lines(group: &str) -> Vec<Line> {
    let text = include_str!("calls.list");
    let heading = format!("[{group}]");
    let of_group = text.lines().skip_while(|l| *l != heading).skip(1).take_while(|l| !l.starts_with('['));
    let lines: Vec<Line> = of_group.map(parse).collect();
    assert!(!lines.is_empty(), "no group {group}");
    lines
}

fn parse(line: &'static str) -> Line {
    let mut words = line.split(' ');
    let name = words.next().expect("a name");
    let row = ROWS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is no call"));
    let kinds = words.map(|word| Kind::parse(word).unwrap_or_else(|| panic!("{word}: no kind"))).collect();
    Line { name, nr: row.nr, kinds }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Ending::Done => f.write_str("ok"),
            Ending::Error(errno) => match abi::Errno::from_raw(*errno) {
                Some(errno) => f.write_str(errno.name()),
                None => write!(f, "{errno}"),
            },
            Ending::Waits => f.write_str("waits"),
            Ending::Gone => f.write_str("gone"),
        }
    }
}
