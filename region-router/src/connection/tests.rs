use super::*;

#[test]
fn a_call_that_waits_for_too_long_is_late_and_what_nobody_uses_is_hung_up() {
    let (longest_wait, longest_idle) = (3, 2);
    let at = |phase: Phase, now| phase.at_sweep(now, longest_wait, longest_idle);
    let awaiting = Phase::Awaiting { since: 7 };
    assert!((7..=10).all(|now| at(awaiting, now) == awaiting));
    assert_eq!(at(awaiting, 11), Phase::Late);
    assert_eq!(at(awaiting, 0), awaiting);

    let phases: Vec<Phase> =
        std::iter::successors(Some(Phase::Idle { sweeps: 0 }), |phase| Some(at(*phase, 0))).take(5).collect();
    let idle = |sweeps| Phase::Idle { sweeps };
    assert_eq!(phases, [idle(0), idle(1), idle(2), Phase::HungUp, Phase::HungUp]);

    for phase in [Phase::Answering, Phase::Late, Phase::HungUp] {
        assert_eq!(at(phase, u32::MAX), phase);
    }
}
