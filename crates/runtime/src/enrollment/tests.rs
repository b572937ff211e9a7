use super::*;

#[test]
fn certificates_are_renewed_at_half_their_life_give_or_take_a_tenth() {
    let issued = Timestamp::from_micros(1_000_000);
    let expires = issued.saturating_add(Duration::from_secs(1000));
    let at = |random| renewal_time(issued, expires, random).saturating_since(issued).as_secs();
    assert_eq!((at(0.0), at(0.5), at(1.0)), (400, 500, 600));
}

#[test]
fn a_refusal_is_not_taken_for_an_absence() {
    assert!(is_absence(&Status::unavailable("nobody")));
    assert!(!is_absence(&Status::unauthenticated("the token was used")));
}
