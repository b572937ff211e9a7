use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn milliseconds_are_written_to_three_places(micros: u64, few in 0_u64..2_000_000) {
        for micros in [micros, few] {
            let mut text = SmallVec::new();
            append_millis(&mut text, micros);
            prop_assert_eq!(text.to_vec(), format!("{}.{:03}", micros / 1000, micros % 1000).into_bytes());
        }
    }
}

#[test]
fn the_header_says_a_call_s_own_time_in_milliseconds() {
    let timing = Timing::begin();
    let header = || {
        let mut told = Fields::default();
        timing.tell_in(&mut told);
        String::from_utf8(told.lines().to_vec()).unwrap()
    };
    assert_eq!(header(), "");
    timing.tell();
    let told = header();
    let millis = told.strip_prefix("server-timing: bailiwick;dur=").unwrap().strip_suffix("\r\n").unwrap();
    assert_eq!(millis.split_once('.').map(|(_, micros)| micros.len()), Some(3));
    assert!(millis.parse::<f64>().unwrap() >= 0.0);
    // What others take is not the worker's.
    timing.waited(Duration::from_secs(3600));
    assert_eq!(header(), "server-timing: bailiwick;dur=0.000\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_in_time_is_late() {
    let bound = Duration::from_secs(30);
    assert_eq!(within(bound, std::future::ready(7)).await, Some(7));
    assert_eq!(within(bound, std::future::pending::<()>()).await, None);
    let soon = sleep(bound / 2);
    assert_eq!(within(bound, soon).await, Some(()));
}
