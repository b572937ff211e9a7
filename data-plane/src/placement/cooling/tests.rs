use super::*;

struct Probed {
    cooling: Cooling,
    now: Instant,
}

impl Probed {
    fn new() -> Self {
        Self { cooling: Cooling::default(), now: Instant::now() }
    }

    fn fails(&mut self) -> Option<Duration> {
        self.cooling.failed(Severity::Counts, false, self.now, 1.0)
    }

    fn cool(&mut self) -> Duration {
        let mut cooled = (0..FAILURES).filter_map(|_| self.fails()).collect::<Vec<_>>();
        assert_eq!(cooled.len(), 1);
        cooled.remove(0)
    }
}

#[test]
fn failures_in_a_row_cool_down_and_a_whole_answer_breaks_the_row() {
    let mut it = Probed::new();
    for _ in 0..2 {
        assert!((1..FAILURES).all(|_| it.fails().is_none()));
        assert!(it.cooling.admits(it.now));
        (0..WINDOW).for_each(|_| it.cooling.succeeded());
    }
    assert_eq!(it.cool(), SHORTEST);
    assert!(!it.cooling.admits(it.now));
}

#[test]
fn so_do_too_many_among_the_latest_calls_although_never_many_in_a_row() {
    // Every second one.
    let mut it = Probed::new();
    for _ in 1..FAILURES_IN_WINDOW {
        assert_eq!(it.fails(), None);
        it.cooling.succeeded();
    }
    assert_eq!(it.fails(), Some(SHORTEST));
    // Two of five, for ever: less than half of the latest.
    let mut it = Probed::new();
    for _ in 0..1000 {
        assert_eq!((it.fails(), it.fails()), (None, None));
        (0..3).for_each(|_| it.cooling.succeeded());
    }
    // What is long over does not count.
    let mut it = Probed::new();
    for _ in 0..100 {
        assert!((1..FAILURES).all(|_| it.fails().is_none()));
        (0..WINDOW).for_each(|_| it.cooling.succeeded());
    }
}

#[test]
fn one_that_fails_every_second_call_is_left_alone_for_longer_each_time() {
    let mut it = Probed::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        let cools = loop {
            if let Some(cools) = it.fails() {
                break cools;
            }
            it.cooling.succeeded();
        };
        times.push(cools);
        it.now += cools;
        assert!(it.cooling.begin(it.now));
        it.cooling.probed();
    }
    assert!(times.windows(2).all(|pair| pair[1] == 2 * pair[0]), "{times:?}");
}

#[test]
fn when_its_time_is_over_one_call_finds_out_and_the_others_wait() {
    let mut it = Probed::new();
    let time = it.cool();
    assert!(!it.cooling.begin(it.now), "a call that goes there all the same finds nothing out");
    it.now += time;
    assert!(it.cooling.admits(it.now));
    assert!(it.cooling.begin(it.now));
    assert!(!it.cooling.admits(it.now) && !it.cooling.begin(it.now));
    it.cooling.not_probed();
    assert!(it.cooling.begin(it.now), "its caller left: the next one finds out");
    it.cooling.probed();
    assert!(it.cooling.admits(it.now));
}

#[test]
fn each_time_in_a_row_is_longer_up_to_a_bound_and_being_well_forgives() {
    let mut it = Probed::new();
    let mut times = vec![it.cool()];
    for _ in 0..30 {
        it.now += *times.last().expect("one");
        assert!(it.cooling.begin(it.now));
        assert_eq!(it.fails(), None, "a call from before tells nothing of how it is now");
        times.push(it.cooling.failed(Severity::Counts, true, it.now, 1.0).expect("cools down"));
    }
    assert!(times.windows(2).all(|pair| pair[1] == (2 * pair[0]).min(LONGEST)), "{times:?}");
    assert_eq!(times.last(), Some(&LONGEST));
    it.now += LONGEST;
    assert!(it.cooling.begin(it.now));
    it.cooling.probed();
    (0..FORGIVEN_AFTER).for_each(|_| it.cooling.succeeded());
    assert_eq!(it.cool(), SHORTEST);
}

#[test]
fn what_asks_to_be_left_alone_is_at_once_within_the_bound() {
    for (asked, left) in [
        (Duration::from_secs(20), Duration::from_secs(20)),
        (Duration::MAX, LONGEST),
        (Duration::ZERO, SHORTEST),
    ] {
        let mut it = Probed::new();
        assert_eq!(it.cooling.failed(Severity::AtOnce(asked), false, it.now, 1.0), Some(left));
        assert!(!it.cooling.admits(it.now));
    }
}
