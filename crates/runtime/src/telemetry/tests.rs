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

#[tokio::test]
async fn r7_the_collectors_address_is_judged_when_it_is_dialled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = |ranges: &str| {
        let text = format!(
            "[region]\nname = \"eu-central-1\"\ninstallation = \"test\"\n[telemetry]\notlp_endpoint = \"http://localhost:{port}\"\n\
             allow = [{{ pattern = \"localhost\", jurisdiction = \"eu\", private_ranges = [{ranges}] }}]\n"
        );
        crate::configuration::tests::telemetry(&text).unwrap()
    };
    let (closed, resolver) = settings("");
    let refused = reach(&closed, &resolver).await.unwrap_err();
    assert!(
        matches!(refused, ReachError::Dial(crate::outbound::DialError::Egress(_))),
        "localhost is no public address: {refused}"
    );
    let (open, resolver) = settings("\"127.0.0.0/8\"");
    assert!(reach(&open, &resolver).await.unwrap());
    listener.accept().await.unwrap();
}
