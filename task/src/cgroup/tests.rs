use super::kinds::Kind;
use super::*;
use abi::Errno;
use machine::sync::SpinLock;

/// Tests that change what the root gives to all groups go one after the other.
static ROOT_CONTROL: SpinLock<()> = SpinLock::new(());

fn child(of: &Arc<Cgroup>, name: &str) -> Arc<Cgroup> {
    of.make_child(name.as_bytes(), |_| {}).unwrap()
}

#[test]
fn threaded_groups_make_their_domain_threaded_and_domains_below_invalid() {
    let a = child(root(), "kinds");
    let b = child(&a, "b");
    let c = child(&b, "c");
    assert_eq!((a.kind(), b.kind(), c.kind()), (Kind::Domain, Kind::Domain, Kind::Domain));
    b.make_threaded().unwrap();
    assert_eq!((a.kind(), b.kind(), c.kind()), (Kind::DomainThreaded, Kind::Threaded, Kind::DomainInvalid));
    assert_eq!(c.domain().id(), c.id());
    assert_eq!(b.domain().id(), a.id());
    assert_eq!(c.vet_as_destination(), Err(Errno::EOPNOTSUPP));
    c.make_threaded().unwrap();
    assert_eq!(c.domain().id(), a.id());
    assert_eq!(b.remove(), Err(Errno::EBUSY));
    for group in [&c, &b, &a] {
        group.remove().unwrap();
    }
    assert_eq!(a.make_child(b"x", |_| {}).err(), Some(Errno::ENODEV));
}

#[test]
fn controllers_are_given_from_the_top_down() {
    let _alone = ROOT_CONTROL.lock();
    let a = child(root(), "controllers");
    let b = child(&a, "b");
    let none = Controllers::empty();
    assert_eq!(b.change_control(Controllers::PIDS, none), Err(Errno::ENOENT));
    root().change_control(Controllers::PIDS, none).unwrap();
    assert_eq!(a.change_control(Controllers::PIDS, none), Ok((Controllers::PIDS, none)));
    assert_eq!(b.available(), Controllers::PIDS);
    assert_eq!(root().change_control(none, Controllers::PIDS), Err(Errno::EBUSY));
    b.remove().unwrap();
    a.remove().unwrap();
    root().change_control(none, Controllers::PIDS).unwrap();
}

#[test]
fn depth_and_number_of_descendants_are_bounded() {
    let a = child(root(), "bounds");
    a.max_depth.store(1, core::sync::atomic::Ordering::Relaxed);
    let b = child(&a, "b");
    assert_eq!(b.make_child(b"c", |_| {}).err(), Some(Errno::EAGAIN));
    a.max_depth.store(tree::NO_LIMIT, core::sync::atomic::Ordering::Relaxed);
    a.max_descendants.store(1, core::sync::atomic::Ordering::Relaxed);
    assert_eq!(b.make_child(b"c", |_| {}).err(), Some(Errno::EAGAIN));
    assert_eq!(a.make_child(b"line\nend", |_| {}).err(), Some(Errno::EINVAL));
    b.remove().unwrap();
    a.remove().unwrap();
}

#[test]
fn paths_lead_from_one_group_to_another() {
    let a = child(root(), "paths");
    let (b, c) = (child(&a, "b"), child(&a, "c"));
    assert_eq!(root().path_from(root()), b"/");
    assert_eq!(b.path_from(root()), b"/paths/b");
    assert_eq!(b.path_from(&a), b"/b");
    assert_eq!(b.path_from(&b), b"/");
    assert_eq!(b.path_from(&c), b"/../b");
    assert_eq!(a.path_from(&c), b"/..");
    for group in [&b, &c, &a] {
        group.remove().unwrap();
    }
}

#[test]
fn a_group_made_below_a_frozen_one_is_frozen() {
    let a = child(root(), "frozen");
    freezer::freeze(&a, true).unwrap();
    assert!(a.is_frozen());
    let b = child(&a, "b");
    assert!(a.is_frozen() && b.is_frozen() && !b.freeze_wanted());
    freezer::freeze(&b, true).unwrap();
    freezer::freeze(&a, false).unwrap();
    assert!(!a.is_frozen() && b.is_frozen());
    b.remove().unwrap();
    assert!(!a.is_frozen());
    a.remove().unwrap();
}

#[test]
fn a_limit_on_tasks_holds_for_the_whole_subtree() {
    let _alone = ROOT_CONTROL.lock();
    let a = child(root(), "limit");
    let b = child(&a, "b");
    root().change_control(Controllers::PIDS, Controllers::empty()).unwrap();
    a.set_pids_max(1);
    pids::try_charge(&b).unwrap();
    assert_eq!(pids::try_charge(&b), Err(Errno::EAGAIN));
    assert_eq!((a.pids_current(), b.pids_current()), (1, 1));
    assert_eq!((a.pids_events(false), b.pids_events(false)), (1, 0));
    pids::uncharge(&b);
    root().change_control(Controllers::empty(), Controllers::PIDS).unwrap();
    // Without the controller the limit is gone.
    assert_eq!(a.pids_max(), pids::MAX);
    b.remove().unwrap();
    a.remove().unwrap();
}
