use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn address(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, last, 0, 0, 0, 1))
}

#[test]
fn an_address_that_tries_too_often_waits_and_others_do_not() {
    let calls = TokenCalls::default();
    for _ in 0..CALLS_PER_ADDRESS {
        assert_eq!(calls.take(address(1), at(5)), Ok(()));
    }
    assert_eq!(calls.take(address(1), at(5)), Err(Duration::from_secs(55)));
    assert_eq!(calls.take(address(2), at(5)), Ok(()), "somebody else");
    assert_eq!(calls.take(address(1), at(60)), Ok(()), "the next minute");
}

#[test]
fn whoever_has_a_network_of_addresses_is_counted_once() {
    let calls = TokenCalls::default();
    let within = |host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, host));
    let taken = (0..200).filter(|host| calls.take(within(*host), at(0)).is_ok()).count();
    assert_eq!(taken, CALLS_PER_ADDRESS as usize);
}

#[test]
fn what_is_remembered_of_addresses_is_bounded() {
    let calls = TokenCalls::default();
    let all = (0..u16::MAX).filter(|last| calls.take(address(*last), at(0)).is_ok()).count();
    assert_eq!(all, ADDRESSES + CALLS_OF_OTHERS as usize);
    assert_eq!(calls.of_minute.lock().expect("nobody panicked").1.len(), ADDRESSES);
}

#[test]
fn a_token_is_good_from_its_beginning_to_its_end_and_no_longer_than_ours_live() {
    let home = bailiwick_domain::jurisdiction::Jurisdiction::of(
        bailiwick_domain::region::Regions::builtin().by_name_str("eu-central-1").expect("a region"),
    );
    let claims = |issued: i64, not_before: i64, expires: i64| Claims {
        issuer: String::new(),
        audience: String::new(),
        account: ServiceSecret::generate(home.code()).account(),
        organization: *home.mint(at(0), 1).get(),
        role: bailiwick_domain::organization::OrganizationRole::Viewer,
        secret_version: 1,
        issued_at: at(issued),
        not_before: at(not_before),
        expires_at: at(expires),
        id: String::new(),
    };
    for (claims, expected) in [
        (claims(100, 100, 1000), Ok(())),
        (claims(100, 100, 101), Ok(())),
        (claims(100, 100, 100), Err(TokenRefused::Expired)),
        (claims(105, 105, 1000), Ok(())),
        (claims(106, 106, 1000), Err(TokenRefused::NotYet)),
        (claims(100, 106, 1000), Err(TokenRefused::NotYet)),
        (claims(106, 100, 1000), Err(TokenRefused::NotYet)),
        (claims(100, 100, 1001), Err(TokenRefused::TooLong)),
    ] {
        assert_eq!(in_time(&claims, at(100)), expected, "{claims:?}");
    }
}
