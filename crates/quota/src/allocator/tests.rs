use std::time::Duration;

use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions};
use proptest::prelude::*;

use super::*;
use crate::{
    limit::{Measure, Scope},
    protocol::{Consumed, Report, Settlement},
};

const START: Timestamp = Timestamp::from_micros(1_790_000_040_000_000);

fn later(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn limit(measure: Measure, amount: u64) -> (Limit, Account) {
    let region = Regions::builtin().iter().next().expect("a region").clone();
    let organization = *Jurisdiction::of(&region).mint(START, 7);
    let id = LimitId { organization, number: 1 };
    let limit = Limit::new(id, measure, Scope::ORGANIZATION, amount).expect("small");
    (limit, Account { limit: id, key: None, member: None, model: None, deployment: None })
}

/// A control plane and its store.
struct Desk {
    allocator: Allocator,
    stored: Stored,
    account: Account,
    limit: Limit,
    sequence: u64,
}

impl Desk {
    fn new(measure: Measure, amount: u64) -> Self {
        let (limit, account) = limit(measure, amount);
        let stored = Stored::default();
        let allocator = Allocator::take_office(1, Policy::default(), [limit], &stored, START);
        Self { allocator, stored, account, limit, sequence: 0 }
    }

    fn commit(&mut self, step: Step) -> Vec<ToHolder> {
        self.stored.apply(step.rows());
        step.stored(Committed::after_the_transaction())
    }

    fn hello(&mut self, supersedes: Vec<HolderId>, now: Timestamp) -> HolderId {
        let step = self.allocator.hear(&FromHolder::Hello(Hello { nonce: 1, supersedes }), now);
        match self.commit(step).first() {
            Some(ToHolder::Welcome { holder, .. }) => *holder,
            other => panic!("{other:?}"),
        }
    }

    fn report(&self) -> Report {
        Report {
            account: self.account,
            window_starts: self.limit.measure().period().window(START).starts,
            opening: 0,
            extra_seen: 0,
            consumed: 0,
            held: 0,
            returned: 0,
            urgent: 0,
            demand: 0,
            standing_version: 0,
            recall: 0,
        }
    }

    fn say(&mut self, holder: HolderId, report: Report, now: Timestamp) -> Vec<ToHolder> {
        self.sequence += 1;
        let exchange = Exchange { holder, sequence: self.sequence, leaving: false, reports: vec![report] };
        let step = self.allocator.hear(&FromHolder::Exchange(exchange), now);
        self.commit(step)
    }

    /// Asks, and says how much was granted in all.
    fn ask(&mut self, holder: HolderId, units: u64, now: Timestamp) -> u64 {
        let report = Report { urgent: units, ..self.report() };
        lease(&self.say(holder, report, now), holder).map_or(0, |lease| lease.extra)
    }

    /// The next life of a worker tells what the dead one used.
    fn settle(&mut self, holder: HolderId, measure: Measure, units: u64, now: Timestamp) -> Vec<ToHolder> {
        let window_starts = measure.period().window(now).starts;
        let used = vec![Consumed { account: self.account, window_starts, units }];
        let step = self.allocator.hear(&FromHolder::Settlement(Settlement { holder, used }), now);
        self.commit(step)
    }

    fn taken(&self) -> u64 {
        self.allocator.ledgers.get(&self.account).map_or(0, Ledger::taken)
    }

    fn restart(&mut self, now: Timestamp) {
        let term = self.allocator.term() + 1;
        self.allocator = Allocator::take_office(term, Policy::default(), [self.limit], &self.stored, now);
    }
}

fn lease(messages: &[ToHolder], to: HolderId) -> Option<Lease> {
    messages.iter().find_map(|message| match message {
        ToHolder::Leases(leases) if leases.holder == to => leases.leases.first().copied(),
        _ => None,
    })
}

#[test]
fn a_grant_is_among_the_rows_of_the_step_that_sends_it() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let holder = desk.hello(Vec::new(), START);
    let granted = desk.ask(holder, 3, START);
    assert!(granted >= 3);
    assert_eq!(desk.stored.leases.first().map(|row| row.extra), Some(granted));
    desk.restart(later(1));
    assert_eq!(desk.taken(), granted, "another allocator honours it");
}

#[test]
fn what_a_dead_worker_had_counts_until_its_next_life_tells_what_it_used() {
    let mut desk = Desk::new(Measure::NanoUsdPerMonth, 1000);
    let dead = desk.hello(Vec::new(), START);
    assert!(desk.ask(dead, 600, START) >= 600);
    let successor = desk.hello(vec![dead], later(5));
    assert!(desk.ask(successor, 500, later(5)) < 500, "nothing of the dead worker's is lent again");
    desk.restart(later(6));
    let before = desk.taken();
    let settled = [ToHolder::Settled { holder: dead }];
    assert_eq!(desk.settle(dead, Measure::NanoUsdPerMonth, 20, later(7)), settled);
    assert!(desk.taken() <= before - 580);
    let after = desk.taken();
    assert_eq!(desk.settle(dead, Measure::NanoUsdPerMonth, 20, later(7)), settled);
    assert_eq!(desk.taken(), after, "said twice, it counts once");
    assert!(desk.ask(successor, 500, later(8)) >= 500);
    desk.restart(later(9));
    assert!(desk.taken() >= 520, "what it used stays used");
}

#[test]
fn a_living_workers_leases_cannot_be_settled() {
    let mut desk = Desk::new(Measure::NanoUsdTotal, 1000);
    let holder = desk.hello(Vec::new(), START);
    let granted = desk.ask(holder, 600, START);
    assert_eq!(desk.settle(holder, Measure::NanoUsdTotal, 0, later(1)), []);
    assert_eq!(desk.taken(), granted);
}

#[test]
fn what_a_worker_had_said_to_be_used_stays_used_whatever_its_disk_kept() {
    let mut desk = Desk::new(Measure::NanoUsdTotal, 1000);
    let dead = desk.hello(Vec::new(), START);
    let granted = desk.ask(dead, 600, START);
    let starts = Measure::NanoUsdTotal.period().window(START).starts;
    let said = Report { window_starts: starts, extra_seen: granted, consumed: 300, ..desk.report() };
    desk.say(dead, said, later(1));
    desk.hello(vec![dead], later(2));
    desk.settle(dead, Measure::NanoUsdTotal, 250, later(3));
    assert_eq!(desk.taken(), 300);
    desk.restart(later(4));
    assert_eq!(desk.taken(), 300);
}

#[test]
fn of_a_window_that_a_dead_worker_used_nothing_in_nothing_counts() {
    let mut desk = Desk::new(Measure::NanoUsdPerMonth, 1000);
    let dead = desk.hello(Vec::new(), START);
    assert!(desk.ask(dead, 600, START) >= 600);
    desk.hello(vec![dead], later(1));
    // What it used last was a month before.
    let before =
        Timestamp::from_micros(Measure::NanoUsdPerMonth.period().window(START).starts.as_micros() - 1);
    let window_starts = Measure::NanoUsdPerMonth.period().window(before).starts;
    let used = vec![Consumed { account: desk.account, window_starts, units: 500 }];
    let settlement = FromHolder::Settlement(Settlement { holder: dead, used });
    let step = desk.allocator.hear(&settlement, later(2));
    desk.commit(step);
    assert_eq!(desk.taken(), 0);
}

#[test]
fn what_a_dead_worker_used_in_a_window_that_has_not_begun_here_is_heard_when_it_has() {
    let mut desk = Desk::new(Measure::NanoUsdPerMonth, 1000);
    let dead = desk.hello(Vec::new(), START);
    desk.hello(vec![dead], later(1));
    // Its clock was ahead of this allocator's.
    let next = Measure::NanoUsdPerMonth.period().window(START).ends;
    let used = vec![Consumed { account: desk.account, window_starts: next, units: 70 }];
    let settlement = FromHolder::Settlement(Settlement { holder: dead, used });
    let step = desk.allocator.hear(&settlement, later(2));
    assert_eq!(desk.commit(step), []);
    let step = desk.allocator.hear(&settlement, next);
    assert_eq!(desk.commit(step), [ToHolder::Settled { holder: dead }]);
    assert_eq!(desk.taken(), 70);
}

#[test]
fn what_a_dead_worker_used_of_an_account_that_nobody_knew_it_to_use_counts_once() {
    let mut desk = Desk::new(Measure::NanoUsdTotal, 1000);
    let dead = desk.hello(Vec::new(), START);
    desk.hello(vec![dead], later(1));
    for _ in 0..2 {
        desk.settle(dead, Measure::NanoUsdTotal, 70, later(2));
        assert_eq!(desk.taken(), 70);
    }
    desk.restart(later(3));
    assert_eq!(desk.taken(), 70);
}

#[test]
fn a_silent_workers_parallel_calls_count_until_the_longest_call_is_over() {
    let mut desk = Desk::new(Measure::ParallelRequests, 10);
    let silent = desk.hello(Vec::new(), START);
    let other = desk.hello(Vec::new(), START);
    assert_eq!(desk.ask(silent, 10, START), 10);
    let policy = Policy::default();
    let lease_over = policy.lease_life.as_secs() + 3;
    for (now, granted) in [(5, 0), (lease_over, 0), (lease_over + policy.longest_call.as_secs(), 4)] {
        // The other one is heard of.
        desk.say(other, desk.report(), later(now));
        let step = desk.allocator.tick(later(now));
        desk.commit(step);
        assert_eq!(desk.ask(other, 4, later(now)).min(4), granted, "after {now} s");
    }
}

#[test]
fn a_successor_frees_its_predecessors_parallel_calls_at_once() {
    let mut desk = Desk::new(Measure::ParallelRequests, 10);
    let dead = desk.hello(Vec::new(), START);
    assert_eq!(desk.ask(dead, 10, START), 10);
    let successor = desk.hello(vec![dead], later(1));
    assert!(desk.ask(successor, 5, later(1)) >= 5);
    assert_eq!(desk.say(dead, desk.report(), later(2)), vec![ToHolder::Unknown { holder: dead }]);
}

#[test]
fn a_recall_waits_for_those_who_can_be_reached_and_then_gives_what_there_is() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let (rich, gone, asks) =
        (desk.hello(Vec::new(), START), desk.hello(Vec::new(), START), desk.hello(Vec::new(), START));
    assert!(desk.ask(rich, 60, START) >= 60);
    assert!(desk.ask(gone, 30, START) >= 30);
    desk.allocator.disconnected(gone);
    let report = Report { urgent: 50, ..desk.report() };
    let messages = desk.say(asks, report, later(1));
    let recall = lease(&messages, rich).expect("asked").recall;
    assert!(recall > 0);
    assert_eq!(lease(&messages, gone), None);
    let granted = desk.stored.leases.iter().find(|row| row.holder == rich).expect("stored").extra;
    let gives = Report { extra_seen: granted, returned: granted, recall, ..desk.report() };
    let messages = desk.say(rich, gives, later(1));
    let answer = lease(&messages, asks).expect("answered");
    assert!(answer.extra >= 50 && !answer.exhausted, "{answer:?}");
    assert!(desk.taken() <= 100);
}

#[test]
fn a_recall_that_nobody_answers_ends_in_a_clear_word() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let (rich, asks) = (desk.hello(Vec::new(), START), desk.hello(Vec::new(), START));
    assert!(desk.ask(rich, 90, START) >= 90);
    assert_eq!(desk.ask(asks, 50, later(1)), 0);
    let step = desk.allocator.tick(later(2));
    let answer = lease(&desk.commit(step), asks).expect("answered");
    assert!(answer.exhausted);
    assert_eq!(answer.extra, 100 - desk.stored.leases[0].extra, "what there is helps smaller calls");
}

#[test]
fn a_lowered_limit_lends_nothing_until_enough_has_come_back() {
    let mut desk = Desk::new(Measure::NanoUsdPerDay, 1000);
    let holder = desk.hello(Vec::new(), START);
    let granted = desk.ask(holder, 400, START);
    let (lower, _) = limit(Measure::NanoUsdPerDay, 100);
    desk.allocator.set_limit(lower);
    assert_eq!(desk.ask(holder, granted + 10, later(1)), granted);
}

#[test]
fn windows_never_go_back_whatever_a_new_allocators_clock_says() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let holder = desk.hello(Vec::new(), later(61));
    let report = Report { window_starts: later(60), urgent: 70, ..desk.report() };
    desk.say(holder, report, later(61));
    let taken = desk.taken();
    assert!(taken >= 70);
    desk.restart(later(59));
    assert_eq!(desk.taken(), taken);
    let report = Report { urgent: 70, ..desk.report() };
    desk.say(holder, report, later(59));
    assert!(desk.taken() <= 100);
    // The grant is still on its way.
    let report = Report { window_starts: later(60), ..desk.report() };
    desk.say(holder, report, later(61));
    assert!(desk.taken() >= taken, "what was granted in the later window is not forgotten");
}

#[test]
fn r9_a_standing_slice_is_set_aside_in_each_window_for_a_worker_that_is_cut_off() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 1000);
    let (cut_off, asks) = (desk.hello(Vec::new(), START), desk.hello(Vec::new(), START));
    let report = Report { urgent: 1, demand: 400, ..desk.report() };
    let standing = lease(&desk.say(cut_off, report, START), cut_off).expect("answered").standing;
    assert!(standing >= 300, "{standing}");
    desk.allocator.disconnected(cut_off);
    for minute in 1..4 {
        let report = Report { window_starts: later(60 * minute), urgent: 1000, ..desk.report() };
        let lease = lease(&desk.say(asks, report, later(60 * minute + 1)), asks).expect("answered");
        assert_eq!((lease.extra, lease.exhausted), (1000 - standing, true));
    }
}

#[test]
fn a_smaller_standing_slice_counts_only_when_its_worker_has_heard_of_it() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 1000);
    let holder = desk.hello(Vec::new(), START);
    let report = Report { demand: 400, ..desk.report() };
    let large = lease(&desk.say(holder, report, START), holder).expect("answered");
    let report =
        Report { extra_seen: large.extra, standing_version: large.standing_version, ..desk.report() };
    let small = lease(&desk.say(holder, report, later(1)), holder).expect("answered");
    assert!(small.standing < large.standing && small.standing_version > large.standing_version);
    desk.restart(later(61));
    assert_eq!(desk.taken(), large.standing, "it may have begun with the large one");
    let report = Report {
        window_starts: later(60),
        opening: small.standing,
        standing_version: small.standing_version,
        ..desk.report()
    };
    desk.sequence = 0;
    desk.say(holder, report, later(62));
    assert!(desk.taken() < large.standing, "it has not");
}

#[test]
fn accounts_that_no_limit_has_are_not_opened() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let holder = desk.hello(Vec::new(), START);
    let number = desk.account.limit.number + 1;
    let limit = LimitId { number, ..desk.account.limit };
    let report = Report { account: Account { limit, ..desk.account }, urgent: 5, ..desk.report() };
    assert_eq!(lease(&desk.say(holder, report, START), holder), None);
    assert!(desk.allocator.ledgers.is_empty());
}

#[test]
fn books_and_lost_names_are_forgotten_when_nothing_is_in_doubt() {
    let mut desk = Desk::new(Measure::RequestsPerMinute, 100);
    let dead = desk.hello(Vec::new(), START);
    desk.ask(dead, 5, START);
    desk.hello(vec![dead], later(1));
    for seconds in [2, 62, 122, 182] {
        let step = desk.allocator.tick(later(seconds));
        desk.commit(step);
    }
    assert!(desk.stored.leases.is_empty() && desk.allocator.ledgers.is_empty());
    assert!(desk.stored.holders.iter().all(|row| row.holder != dead), "{:?}", desk.stored.holders);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The theorem: use of at most 5 %, however it is spread over 200 workers; then one exchange for a call at any of them.
    #[test]
    fn a_caller_who_has_used_5_percent_is_admitted_after_one_exchange(
        amount in 1_000_u64..1_000_000,
        demands in prop::collection::vec((0_usize..200, 0_u64..3_000_000, 0_u64..20), 0..600),
        asks in 0_usize..200,
        permille in 1_u64..=474,
    ) {
        let mut desk = Desk::new(Measure::RequestsPerMinute, amount);
        let holders: Vec<HolderId> = (0..200).map(|_| desk.hello(Vec::new(), START)).collect();
        let mut reports = vec![desk.report(); 200];
        let mut used = 0;
        for (worker, demand, wants) in demands {
            let wants = wants.min((amount / 20).saturating_sub(used));
            let holder = holders[worker];
            let idle = reports[worker].extra_seen - reports[worker].consumed;
            let mut report = Report { urgent: wants.saturating_sub(idle), demand, ..reports[worker] };
            if let Some(lease) = lease(&desk.say(holder, report, later(1)), holder) {
                report.extra_seen = lease.extra;
                report.standing_version = lease.standing_version;
            }
            // The call runs, and is told of with the next report.
            let idle = report.extra_seen - report.consumed;
            prop_assert!(idle >= wants, "{} of {}", idle, wants);
            report.consumed += wants;
            used += wants;
            reports[worker] = report;
        }
        let standing: u64 = desk.stored.leases.iter().map(|row| row.standing_most).sum();
        prop_assert!(standing <= amount / 2, "{}", standing);
        let wants = (amount - used) * permille / 1000;
        let idle = reports[asks].extra_seen - reports[asks].consumed;
        let report = Report { urgent: wants.saturating_sub(idle), ..reports[asks] };
        let answer = lease(&desk.say(holders[asks], report, later(2)), holders[asks]).expect("one exchange");
        prop_assert!(answer.extra - report.consumed >= wants && !answer.exhausted, "{:?}", answer);
        prop_assert!(desk.taken() <= amount);
    }

    #[test]
    fn no_report_makes_it_panic_or_grant_too_much(
        numbers in prop::collection::vec(any::<[u64; 8]>(), 1..40),
    ) {
        let mut desk = Desk::new(Measure::TokensPerMinute, 1_000);
        let holder = desk.hello(Vec::new(), START);
        let (mut told_used, mut told_granted) = (0, 0);
        for [opening, extra_seen, consumed, held, returned, urgent, demand, version] in numbers {
            let report = Report {
                opening, extra_seen, consumed, held, returned, urgent, demand, standing_version: version, recall: version,
                ..desk.report()
            };
            let before = desk.taken();
            if let Some(lease) = lease(&desk.say(holder, report, later(1)), holder) {
                prop_assert!(lease.standing <= 500);
            }
            told_used = consumed.max(told_used);
            told_granted = extra_seen.max(told_granted);
            let told = told_used.saturating_add(held).max(told_granted);
            prop_assert!(desk.taken() <= before.max(1_000).max(told));
        }
    }
}

#[test]
fn what_a_dead_worker_said_last_takes_nothing_when_it_comes_after_its_end_is_known() {
    let mut desk = Desk::new(Measure::ParallelRequests, 1);
    let dead = desk.hello(Vec::new(), START);
    assert_eq!(desk.ask(dead, 1, later(1)), 1);
    let next = desk.hello(vec![dead], later(2));
    let late = Report { extra_seen: 1, held: 1, ..desk.report() };
    let answer = desk.say(dead, late, later(3));
    assert!(matches!(answer[..], [ToHolder::Unknown { holder }] if holder == dead), "{answer:?}");
    assert_eq!(desk.ask(next, 1, later(4)), 1);
}
