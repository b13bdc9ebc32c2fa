extern crate std;

use super::*;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use proptest::prelude::*;
use std::thread;

/// A CPU of the model: what it has armed, and what its one-shot timer is set to while it sleeps.
#[derive(Default, Clone)]
struct Cpu {
    awake: bool,
    armed: BTreeSet<(u64, u32)>,
    alarm: u64,
}

struct Model {
    tree: Tree,
    cpus: Vec<Cpu>,
    now: u64,
    /// Names of those that have fired.
    fired: Vec<u32>,
    /// Times that a sleeping CPU was woken by its alarm.
    alarms: u32,
}

/// An awake CPU looks around every so many moments.
const TICK: u64 = 4;

fn run_due(cpus: &mut [Cpu], fired: &mut Vec<u32>, cpu: usize, now: u64) -> u64 {
    let Some(cpu) = cpus.get_mut(cpu) else { return NEVER };
    while let Some((at, name)) = cpu.armed.first().copied().filter(|(at, _)| *at <= now) {
        cpu.armed.remove(&(at, name));
        fired.push(name);
    }
    cpu.armed.first().map_or(NEVER, |(at, _)| *at)
}

impl Model {
    fn new(cpus: usize) -> Model {
        let tree = Tree::new(cpus);
        let cpus = (0..cpus).map(|_| Cpu { alarm: NEVER, ..Cpu::default() }).collect();
        Model { tree, cpus, now: 0, fired: Vec::new(), alarms: 0 }
    }
    fn wake(&mut self, cpu: usize) {
        self.cpus[cpu].awake = true;
        self.cpus[cpu].alarm = NEVER;
        self.tree.wake(cpu);
    }
    fn sleep(&mut self, cpu: usize) {
        let (now, cpus, fired) = (self.now, &mut self.cpus, &mut self.fired);
        if cpus[cpu].awake && self.tree.owes(cpu, now) {
            run_due(cpus, fired, cpu, now);
            self.tree.tick(cpu, now, &mut |other| run_due(cpus, fired, other, now));
        }
        let first = self.cpus[cpu].armed.first().map_or(NEVER, |(at, _)| *at);
        self.cpus[cpu].awake = false;
        if let Some(alarm) = self.tree.sleep(cpu, first) {
            self.cpus[cpu].alarm = alarm;
        }
    }
    fn step(&mut self) {
        self.now += 1;
        let (now, tree, cpus, fired) = (self.now, &self.tree, &mut self.cpus, &mut self.fired);
        for cpu in 0..cpus.len() {
            if cpus[cpu].awake && now % TICK == cpu as u64 % TICK {
                run_due(cpus, fired, cpu, now);
                tree.tick(cpu, now, &mut |other| run_due(cpus, fired, other, now));
            } else if cpus[cpu].alarm <= now {
                self.alarms += 1;
                cpus[cpu].alarm = tree.wake_up_call(cpu, now, &mut |other| run_due(cpus, fired, other, now));
            }
        }
    }
    /// Nothing waits for longer than a tick beyond its time, or one more when another CPU becomes the one to look.
    fn check(&self) {
        for (number, cpu) in self.cpus.iter().enumerate() {
            if let Some((at, name)) = cpu.armed.first() {
                assert!(self.now <= at + 2 * TICK, "{name} of CPU {number}, due at {at}, waits at {}", self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn time_outs_of_sleeping_cpus_are_run_in_time(
        cpus in prop_oneof![1..9usize, 9..70usize, 500..530usize],
        ops in proptest::collection::vec((any::<u16>(), 0..4u8, 0..60u64, 0..12u64), 1..150),
    ) {
        let mut model = Model::new(cpus);
        let mut armed = 0;
        for (which, op, ahead, pass) in ops {
            let cpu = which as usize % cpus;
            match op {
                // Only a CPU that runs arms a time-out, and it arms its own.
                0 | 1 => {
                    model.wake(cpu);
                    let entry = (model.now + ahead, armed);
                    model.cpus[cpu].armed.insert(entry);
                    armed += 1;
                    if op == 1 {
                        model.sleep(cpu);
                    }
                }
                2 => model.wake(cpu),
                _ => model.sleep(cpu),
            }
            for _ in 0..pass {
                model.step();
                model.check();
            }
        }
        for cpu in 0..cpus {
            model.sleep(cpu);
        }
        for _ in 0..70 {
            model.step();
            model.check();
        }
        model.fired.sort_unstable();
        prop_assert_eq!(model.fired, (0..armed).collect::<Vec<_>>());
    }
}

#[test]
fn nobody_is_woken_while_another_cpu_can_do_the_work() {
    let mut model = Model::new(130);
    model.wake(129);
    for cpu in 0..100 {
        model.wake(cpu);
        model.cpus[cpu].armed.insert((20 + cpu as u64, cpu as u32));
        model.sleep(cpu);
    }
    for _ in 0..150 {
        model.step();
        model.check();
    }
    assert_eq!((model.fired.len(), model.alarms), (100, 0));
}

#[test]
fn of_a_machine_asleep_one_cpu_wakes_for_each_moment() {
    let mut model = Model::new(130);
    for cpu in 0..100 {
        model.wake(cpu);
        model.cpus[cpu].armed.insert((200 + cpu as u64 / 10, cpu as u32));
        model.sleep(cpu);
    }
    for _ in 0..250 {
        model.step();
        model.check();
    }
    assert_eq!((model.fired.len(), model.alarms), (100, 10));
}

#[test]
fn the_tree_knows_who_sleeps_after_any_number_of_races() {
    let tree = Arc::new(Tree::new(20));
    let threads: Vec<_> = (0..20usize)
        .map(|cpu| {
            let tree = tree.clone();
            thread::spawn(move || {
                for round in 0..2000 {
                    tree.wake(cpu);
                    tree.sleep(cpu, 1000 + (round * 7 + cpu as u64 * 13) % 500);
                }
                tree.sleep(cpu, 5000 + cpu as u64);
            })
        })
        .collect();
    for t in threads {
        t.join().unwrap();
    }
    for group in &tree.groups {
        assert!(!group.state().is_awake() && group.state().migrator().is_none());
    }
    assert_eq!(tree.groups.last().unwrap().next.load(Relaxed), 5000);
    let keeper = tree.keeper.load(Relaxed);
    assert_eq!(tree.wake_up_call(keeper, 5000, &mut |cpu| 6000 + cpu as u64), 5001);
}
