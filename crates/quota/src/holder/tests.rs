use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions, time::Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    limit::{LimitId, Measure, Scope},
    protocol::Lease,
    window::Window,
};

const START: Timestamp = Timestamp::from_micros(1_790_000_040_000_000);
const NAME: HolderId = HolderId(1);

fn limit(measure: Measure, amount: u64) -> (Limit, Account) {
    let region = Regions::builtin().iter().next().expect("a region").clone();
    let organization = *Jurisdiction::of(&region).mint(START, 7);
    let number = Measure::ALL.iter().position(|other| *other == measure).expect("listed");
    let id = LimitId { organization, number: u32::try_from(number).expect("few") };
    let limit = Limit::new(id, measure, Scope::ORGANIZATION, amount).expect("small");
    (limit, Account { limit: id, key: None, member: None, model: None, deployment: None })
}

/// A worker that hears what a test says.
struct Desk {
    holder: Holder,
    answers: u64,
}

impl Desk {
    fn new() -> Self {
        let holder = Holder::new(Policy::default(), 9, Vec::new());
        holder.connected();
        holder.hear(&ToHolder::Welcome { nonce: 9, holder: NAME }, at(0));
        Self { holder, answers: 0 }
    }

    fn cell(&self, measure: Measure, amount: u64) -> Arc<Cell> {
        let (limit, account) = limit(measure, amount);
        self.holder.cell(account, &limit)
    }

    /// An exchange that is sent at one instant and answered at another, when it is `now` at the control plane.
    fn hear(&mut self, leases: Vec<Lease>, sent: u64, now: Timestamp, received: u64) {
        let FromHolder::Exchange(exchange) = self.holder.exchange(at(sent)) else { panic!("named") };
        self.answers = exchange.sequence;
        let leases = Leases { holder: NAME, term: 1, answers: self.answers, now, leases };
        self.holder.hear(&ToHolder::Leases(leases), at(received));
    }

    fn reserve(&self, wants: &[(&Arc<Cell>, u64)], now: u64) -> Outcome {
        let wants: Vec<Want<'_>> = wants.iter().map(|(cell, units)| Want { cell, units: *units }).collect();
        self.holder.try_reserve(&wants, at(now))
    }
}

/// Microseconds of the worker's clock.
fn at(micros: u64) -> Monotonic {
    Monotonic::from_micros(micros)
}

fn granted(cell: &Cell, extra: u64, standing: u64) -> Lease {
    Lease {
        account: *cell.account(),
        window: cell.measure().period().window(START),
        amount: cell.amount(),
        extra,
        standing,
        standing_version: u64::from(standing > 0),
        keep: u64::MAX,
        recall: 0,
        exhausted: false,
        left: 0,
    }
}

const SECOND: u64 = 1_000_000;

#[test]
fn all_limits_are_taken_or_none() {
    let mut desk = Desk::new();
    let (requests, tokens) =
        (desk.cell(Measure::RequestsPerMinute, 100), desk.cell(Measure::TokensPerMinute, 1000));
    desk.hear(vec![granted(&requests, 5, 0), granted(&tokens, 50, 0)], 10, START, 20);
    let Outcome::Wait(waiting) = desk.reserve(&[(&requests, 1), (&tokens, 60)], 30) else {
        panic!("too few tokens")
    };
    assert_eq!((requests.available(), tokens.available()), (5, 50));
    drop(waiting);
    let Outcome::Reserved(call) = desk.reserve(&[(&requests, 1), (&tokens, 40)], 30) else {
        panic!("enough")
    };
    assert_eq!((requests.available(), tokens.available()), (4, 10));
    call.settle(Used { tokens: 15, nano_usd: 0 });
    assert_eq!((requests.available(), tokens.available()), (4, 35));
}

#[test]
fn a_dropped_call_counts_as_made_and_a_cancelled_one_does_not() {
    let mut desk = Desk::new();
    let cells = [Measure::RequestsPerMinute, Measure::ParallelRequests, Measure::NanoUsdPerDay]
        .map(|measure| desk.cell(measure, 100));
    desk.hear(cells.iter().map(|cell| granted(cell, 10, 0)).collect(), 10, START, 20);
    let wants: Vec<(&Arc<Cell>, u64)> = cells.iter().zip([1, 1, 7]).collect();
    let left = || cells.each_ref().map(|cell| cell.available());
    let Outcome::Reserved(call) = desk.reserve(&wants, 30) else { panic!("enough") };
    assert_eq!(left(), [9, 9, 3]);
    call.cancel();
    assert_eq!(left(), [10, 10, 10]);
    drop(desk.reserve(&wants, 30));
    assert_eq!(left(), [9, 10, 3], "parallel calls end");
}

#[test]
fn what_a_call_used_beyond_its_reservation_is_owed() {
    let mut desk = Desk::new();
    let money = desk.cell(Measure::NanoUsdPerDay, 1000);
    desk.hear(vec![granted(&money, 100, 0)], 10, START, 20);
    let Outcome::Reserved(call) = desk.reserve(&[(&money, 60)], 30) else { panic!("enough") };
    call.settle(Used { tokens: 0, nano_usd: 90 });
    assert_eq!(money.available(), 10);
    let Outcome::Reserved(call) = desk.reserve(&[(&money, 10)], 30) else { panic!("enough") };
    call.settle(Used { tokens: 0, nano_usd: 30 });
    desk.hear(vec![granted(&money, 125, 0)], 40, START, 50);
    assert_eq!(money.available(), 5, "25 more, and 20 owed");
}

#[test]
fn a_refusal_names_the_limit_and_when_the_window_ends() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    let now = START.saturating_add(Duration::from_millis(17_500));
    desk.hear(vec![Lease { exhausted: true, ..granted(&requests, 0, 0) }], 0, now, 0);
    let Outcome::Refused(refusal) = desk.reserve(&[(&requests, 1)], 0) else { panic!("used up") };
    assert_eq!(
        (refusal.reason, refusal.measure, refusal.amount),
        (Reason::UsedUp, Measure::RequestsPerMinute, 100)
    );
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(42_500)));
    assert_eq!(refusal.retry_after_seconds(), Some(43));
    assert_eq!(refusal.to_string(), "the limit of 100 requests_per_minute is used up");
    let Outcome::Refused(refusal) = desk.reserve(&[(&requests, 101)], 0) else { panic!("too large") };
    assert_eq!((refusal.reason, refusal.retry_after), (Reason::LargerThanLimit, None));
    let ask_again = SECOND;
    assert!(matches!(desk.reserve(&[(&requests, 1)], ask_again), Outcome::Wait(_)));
}

#[test]
fn callers_are_told_what_is_idle_here_and_what_was_lent_to_nobody() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    let remaining = |desk: &Desk, now| desk.holder.standing(&requests, at(now)).remaining;
    assert_eq!(remaining(&desk, 0), 100, "nothing was heard of it");
    let now = START.saturating_add(Duration::from_secs(20));
    desk.hear(vec![Lease { left: 60, ..granted(&requests, 5, 7) }], 0, now, 0);
    let call = desk.reserve(&[(&requests, 1)], 0);
    let standing = desk.holder.standing(&requests, at(0));
    assert_eq!((standing.amount, standing.remaining), (100, 64));
    assert_eq!(standing.resets_in, Some(Duration::from_secs(40)));
    // The next window begins with the standing slice; what others begin it with, nobody has told.
    drop((call, desk.reserve(&[(&requests, 1)], 50 * SECOND)));
    assert_eq!(remaining(&desk, 50 * SECOND), 99);
}

#[test]
fn a_limit_that_is_changed_is_taken_as_changed_before_the_control_plane_lends_by_it() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 10);
    desk.hear(Vec::new(), 0, START, 0);
    assert!(matches!(desk.reserve(&[(&requests, 20)], 1), Outcome::Refused(_)), "larger than the limit");
    let same = desk.cell(Measure::RequestsPerMinute, 100);
    assert!(Arc::ptr_eq(&same, &requests));
    assert!(matches!(desk.reserve(&[(&requests, 20)], 1), Outcome::Wait(_)));
}

#[test]
fn of_what_is_gone_nothing_is_told() {
    let mut desk = Desk::new();
    let (requests, money) = (desk.cell(Measure::RequestsPerMinute, 10), desk.cell(Measure::NanoUsdTotal, 10));
    desk.hear(vec![granted(&requests, 5, 0), granted(&money, 5, 0)], 0, START, 0);
    let Outcome::Reserved(call) = desk.reserve(&[(&requests, 1), (&money, 1)], 1) else { panic!("enough") };
    desk.holder.retain(|account| account != money.account());
    assert_eq!(desk.holder.accounts(), 1);
    call.settle(Used::default());
    let FromHolder::Exchange(exchange) = desk.holder.exchange(at(2)) else { panic!("named") };
    let told: Vec<_> = exchange.reports.iter().map(|report| report.account).collect();
    assert_eq!(told, [*requests.account()]);
}

#[test]
fn who_waits_for_one_limit_keeps_what_there_is_of_the_others() {
    let mut desk = Desk::new();
    let (parallel, money) = (desk.cell(Measure::ParallelRequests, 1), desk.cell(Measure::NanoUsdTotal, 10));
    desk.hear(vec![granted(&parallel, 1, 0)], 0, START, 0);
    let wants = [(&parallel, 1), (&money, 5)];
    let Outcome::Wait(waiting) = desk.reserve(&wants, 1) else { panic!("no money is lent") };
    // Of a limit of one, nothing may lie idle.
    desk.hear(vec![Lease { keep: 0, ..granted(&parallel, 1, 0) }, granted(&money, 5, 0)], 2, START, 3);
    let wants = wants.map(|(cell, units)| Want { cell, units });
    let Outcome::Reserved(_call) = desk.holder.try_again(waiting, &wants, at(4)) else {
        panic!("both are there")
    };
}

#[test]
fn who_gives_up_waiting_is_told_of_the_limit_and_asks_no_longer() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 10);
    desk.hear(Vec::new(), 0, START, 0);
    let Outcome::Wait(waiting) = desk.reserve(&[(&requests, 1)], 1) else { panic!("nothing is lent") };
    let refusal = desk.holder.give_up(waiting, at(2)).expect("it waited for something");
    assert_eq!((refusal.account, refusal.reason), (*requests.account(), Reason::NoAnswer));
    let FromHolder::Exchange(exchange) = desk.holder.exchange(at(3)) else { panic!("named") };
    assert!(exchange.reports.iter().all(|report| report.urgent == 0));
}

#[test]
fn who_waits_is_told_when_nobody_answers() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    desk.hear(Vec::new(), 0, START, 0);
    let wants = [Want { cell: &requests, units: 1 }];
    let Outcome::Wait(waiting) = desk.holder.try_reserve(&wants, at(100)) else { panic!("nothing is lent") };
    let until = waiting.until();
    assert_eq!(until, at(250_100));
    let Outcome::Wait(waiting) = desk.holder.try_again(waiting, &wants, at(200_000)) else {
        panic!("not yet")
    };
    let Outcome::Refused(refusal) = desk.holder.try_again(waiting, &wants, until) else {
        panic!("patience ends")
    };
    assert_eq!(refusal.reason, Reason::NoAnswer);
    let FromHolder::Exchange(exchange) = desk.holder.exchange(at(300_000)) else { panic!("named") };
    assert!(exchange.reports.iter().all(|report| report.urgent == 0), "it asks no longer");
}

#[test]
fn r9_a_worker_that_is_cut_off_uses_its_standing_slice_in_each_window_until_its_leases_end() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    desk.hear(vec![granted(&requests, 3, 7)], 0, START, 0);
    desk.holder.disconnected();
    let served = |second: u64| {
        (0..50)
            .filter(|_| matches!(desk.reserve(&[(&requests, 1)], second * SECOND), Outcome::Reserved(_)))
            .count()
    };
    assert_eq!(served(10), 3);
    assert_eq!(served(65), 7);
    assert_eq!(served(70), 0);
    assert_eq!(served(610), 7);
    let Outcome::Refused(refusal) = desk.reserve(&[(&requests, 1)], 615 * SECOND) else { panic!("used") };
    assert_eq!(refusal.reason, Reason::CutOff);
    assert!(
        refusal
            .retry_after
            .is_some_and(|wait| wait > Duration::from_secs(44) && wait < Duration::from_secs(46))
    );
    let life = Policy::default().lease_life.as_secs();
    assert_eq!(served(life - 5), 7);
    assert_eq!(served(life + 5), 0);
}

#[test]
fn a_standing_slice_is_not_used_in_the_window_in_which_it_was_granted() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    desk.hear(vec![granted(&requests, 0, 50)], 0, START, 0);
    assert_eq!(requests.available(), 0);
}

#[test]
fn a_recall_takes_all_that_is_idle_and_leaves_what_calls_hold() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::ParallelRequests, 100);
    desk.hear(vec![granted(&requests, 10, 0)], 0, START, 0);
    let call = desk.reserve(&[(&requests, 4)], 1);
    desk.hear(vec![Lease { recall: 3, ..granted(&requests, 10, 0) }], 2, START, 3);
    assert_eq!(requests.available(), 0);
    let FromHolder::Exchange(exchange) = desk.holder.exchange(at(4)) else { panic!("named") };
    let report = exchange.reports.first().expect("news");
    assert_eq!((report.returned, report.held, report.recall), (6, 4, 3));
    drop(call);
}

#[test]
fn answers_that_come_twice_or_in_another_order_change_nothing() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    for extra in [10, 30, 10, 30, 20] {
        desk.hear(vec![granted(&requests, extra, 0)], 0, START, 0);
    }
    assert_eq!(requests.available(), 30);
}

#[test]
fn a_worker_that_lost_its_name_uses_nothing_of_what_it_had() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100);
    desk.hear(vec![granted(&requests, 10, 5)], 0, START, 0);
    desk.holder.hear(&ToHolder::Unknown { holder: NAME }, at(1));
    assert!(matches!(desk.reserve(&[(&requests, 1)], 2), Outcome::Wait(_)));
    assert!(matches!(desk.holder.exchange(at(3)), FromHolder::Hello(Hello { nonce: 10, .. })));
}

#[test]
fn cores_share_a_slice_and_never_take_more_than_there_is() {
    let mut desk = Desk::new();
    let requests = desk.cell(Measure::RequestsPerMinute, 100_000);
    desk.hear(vec![granted(&requests, 10_000, 0)], 0, START, 0);
    let admitted: usize = std::thread::scope(|scope| {
        let core = || {
            (0..5_000).filter(|_| matches!(desk.reserve(&[(&requests, 1)], 1), Outcome::Reserved(_))).count()
        };
        let cores: Vec<_> = (0..4).map(|_| scope.spawn(core)).collect();
        cores.into_iter().map(|core| core.join().expect("no panic")).sum()
    });
    assert_eq!(admitted, 10_000);
}

proptest! {
    /// However slow the messages and however the clocks drift within the policy's bound: no window is begun early, nor used when it is over.
    #[test]
    fn a_windows_units_are_used_only_in_it(
        sent in 0_u64..100_000_000,
        up in 0_u64..500_000,
        down in 0_u64..500_000,
        drift_ppm in -490_i64..=490,
        into_window in 0_u64..60_000_000,
        probes in prop::collection::vec(0_u64..130_000_000, 0..20),
        near in prop::collection::vec(0_u64..1_200_000, 0..40),
    ) {
        let mut desk = Desk::new();
        let requests = desk.cell(Measure::RequestsPerMinute, 1_000_000);
        let mono = |elapsed: u64| sent + u64::try_from(i64::try_from(elapsed).expect("small") * (1_000_000 + drift_ppm) / 1_000_000).expect("positive");
        let now = START.saturating_add(Duration::from_micros(into_window));
        let true_time = |elapsed: u64| now.saturating_add(Duration::from_micros(elapsed)).saturating_sub(Duration::from_micros(up));
        desk.hear(vec![granted(&requests, 1, 1)], sent, now, mono(up + down));
        let first = Window { starts: START, ends: START.saturating_add(Duration::from_secs(60)) };
        // Most of what can go wrong goes wrong where a window ends.
        let ends = 60_000_000 - into_window + up;
        let mut probes = probes;
        probes.extend(near.into_iter().map(|micros| (ends + micros).saturating_sub(600_000)));
        probes.sort_unstable();
        let mut admitted = std::collections::BTreeMap::<Timestamp, u64>::new();
        for probe in probes.into_iter().filter(|probe| *probe >= up + down) {
            if let Outcome::Reserved(_call) = desk.reserve(&[(&requests, 1)], mono(probe)) {
                let minute = Measure::RequestsPerMinute.period().window(true_time(probe)).starts;
                prop_assert!(minute >= first.starts);
                *admitted.entry(minute).or_default() += 1;
            }
        }
        // One unit was granted in the first window, and one stands for each later one.
        prop_assert!(admitted.values().all(|units| *units <= 1), "{:?}", admitted);
    }
}
