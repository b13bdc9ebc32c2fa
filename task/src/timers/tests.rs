use super::*;

#[test]
fn cpu_timers_skip_missed_periods_and_stop_when_set_for_once() {
    let mut timer = Itimer { next: 100, interval: 30 };
    assert!(!timer.expire(99));
    assert!(timer.expire(165));
    assert_eq!(timer.setting(165), Setting { value: 25, interval: 30 });
    let mut once = Itimer { next: 100, interval: 0 };
    assert!(once.expire(100) && !once.expire(200));
    assert_eq!(once.setting(200), Setting::default());
}
