use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_795_420_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn certificate(begun: Duration, left: Duration) -> Certificate {
    Certificate {
        name: "spiffe://eu-central-1.local/operator/x".to_owned(),
        not_before: NOW.saturating_sub(begun),
        not_after: NOW.saturating_add(left),
    }
}

#[test]
fn a_certificate_is_told_about_before_it_ends() {
    assert!(dates(&certificate(DAY, 29 * DAY), NOW).is_ok());
    assert!(dates(&certificate(28 * DAY, 2 * DAY), NOW).unwrap_err().0.ends_with(": soon"));
    assert!(dates(&certificate(30 * DAY, Duration::ZERO), NOW).unwrap_err().0.contains("has ended"));
    let future = Certificate { not_before: NOW.saturating_add(DAY), ..certificate(DAY, 30 * DAY) };
    assert!(dates(&future, NOW).unwrap_err().0.contains("not valid yet"));
}

#[test]
fn a_slow_answer_is_not_a_wrong_clock() {
    let region = |at: Timestamp| GetRegionResponse { now_micros: at.as_micros(), ..Default::default() };
    let answered = NOW.saturating_add(Duration::from_secs(20));
    assert!(skew(&region(NOW.saturating_add(Duration::from_secs(10))), NOW, answered).is_ok());
    assert!(skew(&region(NOW.saturating_sub(Duration::from_secs(3))), NOW, answered).is_err());
    assert!(skew(&region(answered.saturating_add(Duration::from_secs(3))), NOW, answered).is_err());
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_with_advice() {
    // Taken, so that nobody else can begin to listen there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (problem, hint) = tcp(&taken.local_addr().unwrap().to_string()).await.unwrap_err();
    assert!(problem.contains("refused"), "{problem}");
    assert!(hint.contains("does the control plane run"));
}
