use super::*;

fn given(order: Option<u32>, weight: Option<u32>) -> GivenRank {
    GivenRank { order, weight }
}

fn pairs(strategy: Strategy, list: &[GivenRank]) -> Vec<(u16, u16)> {
    let ranks = ranks(strategy, list).expect("good");
    ranks.into_iter().map(|rank| (rank.order(), rank.weight())).collect()
}

#[test]
fn a_plain_list_is_one_of_preference() {
    assert_eq!(pairs(Strategy::Weighted, &[GivenRank::default(); 3]), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn what_is_compared_stands_together() {
    for strategy in [Strategy::LeastInFlight, Strategy::LowestLatency] {
        assert_eq!(pairs(strategy, &[GivenRank::default(); 2]), [(0, 1), (0, 1)]);
    }
    let weighted = [given(None, Some(9)), GivenRank::default(), given(Some(1), None)];
    assert_eq!(pairs(Strategy::Weighted, &weighted), [(0, 9), (0, 1), (1, 1)]);
}

#[test]
fn bounds_are_held() {
    for bad in
        [given(Some(1001), None), given(None, Some(0)), given(None, Some(1001)), given(Some(u32::MAX), None)]
    {
        let found = ranks(Strategy::Weighted, &[given(Some(1000), Some(1000)), bad]);
        assert_eq!(found, Err((1, RankError)), "{bad:?}");
    }
}

#[test]
fn strategies_have_words() {
    for strategy in Strategy::ALL {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    assert_eq!("random".parse::<Strategy>(), Err(StrategyError));
}
