use super::*;

#[test]
fn a_deployment_is_named_with_or_without_its_rank() {
    let plain: Serving = "dep_1".parse().expect("good");
    assert_eq!(plain, Serving { id: "dep_1".into(), rank: Rank::default() });
    let ranked: Serving = "dep_1,weight=9,order=2".parse().expect("good");
    assert_eq!(ranked.rank, Rank { order: Some(2), weight: Some(9) });
    for bad in ["dep_1,9", "dep_1,weight=", "dep_1,weight=-1", "dep_1,tier=1", "dep_1,"] {
        assert!(bad.parse::<Serving>().is_err(), "{bad}");
    }
}

#[test]
fn a_plain_list_is_sent_without_ranks() {
    let serving = |text: &str| text.parse::<Serving>().expect("good");
    assert_eq!(split(vec![serving("a"), serving("b")]), (vec!["a".into(), "b".into()], Vec::new()));
    let (_, ranks) = split(vec![serving("a,weight=2"), serving("b")]);
    assert_eq!(ranks, [Rank { weight: Some(2), order: None }, Rank::default()]);
}
