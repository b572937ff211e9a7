//! The short version of the simulation that `cargo run -p bailiwick-quota --example simulation` prints, with what it must show.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "tests, not production"
)]

#[path = "support/accounts.rs"]
mod accounts;
#[path = "../examples/simulation/convergence.rs"]
mod convergence;
#[path = "../examples/simulation/scenario.rs"]
mod scenario;
#[path = "../examples/simulation/world.rs"]
mod world;

use bailiwick_quota::limit::Measure;
use scenario::{BANDS, Calls, Demand, Outcomes, Scenario, scenario};
use world::run;

fn short(workers: usize, demand: Demand, percent: u64) -> Scenario {
    Scenario { seconds: 65, ..scenario(workers, demand, 3_000, percent) }
}

fn assert_exact_and_fair(scenario: &Scenario) -> Outcomes {
    let outcomes = run(scenario);
    assert_eq!(outcomes.over_admitted, 0, "{scenario:?}");
    for (band, percent) in BANDS.into_iter().enumerate().take(3) {
        assert_eq!(outcomes.refused_below[band], 0, "below {percent} %: {scenario:?}");
    }
    outcomes
}

#[test]
fn the_sum_is_exact_and_nobody_is_refused_below_95_percent() {
    let small = [1, 8].into_iter().flat_map(|workers| Demand::ALL.map(|demand| (workers, demand)));
    let large = [Demand::Zipf, Demand::Moving].map(|demand| (200, demand));
    for (workers, demand) in small.chain(large) {
        let outcomes = assert_exact_and_fair(&short(workers, demand, 150));
        assert!(outcomes.first_refusal_permille.is_some_and(|permille| permille >= 990), "{outcomes:?}");
        assert!(outcomes.longest_wait_micros <= 250_000, "{outcomes:?}");
    }
}

#[test]
fn tokens_that_are_reserved_and_settled_are_never_refused_below_half() {
    let (limit, account) = accounts::limit(Measure::TokensPerMinute, 2_000_000);
    let calls =
        Calls { least_units: 500, most_units: 8_000, least_used_percent: 10, longest_micros: 20_000_000 };
    for workers in [2, 32] {
        let scenario =
            Scenario { limit, account, calls, calls_per_minute: 1_200, ..short(workers, Demand::Zipf, 150) };
        let outcomes = assert_exact_and_fair(&scenario);
        assert_eq!(outcomes.refused_below[..2], [0, 0]);
        assert!(outcomes.refused_below[3] < outcomes.asked, "{outcomes:?}");
    }
}

#[test]
fn r9_without_a_control_plane_workers_serve_their_standing_slices() {
    for (demand, percent, least_percent) in [(Demand::Zipf, 20, 95), (Demand::Zipf, 100, 35)] {
        let scenario = Scenario { outage: Some((10, 130)), seconds: 140, ..short(8, demand, percent) };
        let outcomes = run(&scenario);
        assert_eq!(outcomes.over_admitted, 0);
        let served = outcomes.outage_admitted * 100 / outcomes.outage_asked;
        assert!(served >= least_percent, "{served} % of {percent} %: {outcomes:?}");
    }
}

#[test]
fn another_control_plane_honours_the_leases_of_the_one_before() {
    let scenario = Scenario { replaced_at: vec![5, 6, 20, 40, 59], ..short(32, Demand::Zipf, 150) };
    assert_exact_and_fair(&scenario);
}

#[test]
fn each_run_is_the_same() {
    let scenario = short(8, Demand::Moving, 150);
    let (first, second) = (run(&scenario), run(&scenario));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    let settled = run(&short(8, Demand::Moving, 40)).converged_after_micros;
    assert!(settled.is_some_and(|micros| micros < 5_000_000), "{settled:?}");
}
