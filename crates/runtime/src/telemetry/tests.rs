use super::*;

#[test]
fn libraries_that_see_bodies_stay_quiet_whatever_the_filter_says() {
    for asked in ["trace", "h2=trace,hyper=trace,info"] {
        let filter = filter(asked).unwrap().to_string();
        for library in QUIET {
            assert!(filter.contains(&format!("{library}=info")), "{filter}");
            assert!(!filter.contains(&format!("{library}=trace")), "{filter}");
        }
    }
}

#[test]
fn a_filter_that_is_none_is_refused() {
    assert!(matches!(filter("bailiwick=loud=very"), Err(TelemetryError::Filter(_))));
}
