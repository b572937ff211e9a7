use super::*;

#[test]
fn a_deployment_is_left_alone_at_once_where_its_next_call_would_have_no_token_either() {
    for why in [NoToken::Refused, NoToken::Unavailable] {
        assert_eq!(ill(why), Ill::Refusing);
    }
    // Whoever waited behind others, whose issuers do not answer, has a deployment that is well.
    for why in [NoToken::Late, NoToken::Overloaded] {
        assert_eq!(ill(why), Ill::Unreachable);
    }
}
