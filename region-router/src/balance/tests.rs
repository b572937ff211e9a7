use super::*;

fn worker(number: u16, boot_id: &str) -> Worker {
    Worker {
        name: format!("worker-{number}"),
        address: SocketAddr::from(([127, 0, 0, 1], 7000 + number)),
        boot_id: boot_id.to_owned(),
    }
}

fn balance(workers: &[Worker]) -> (Balance, Workers) {
    let view = Workers::default();
    view.store(workers.to_vec());
    (Balance::new(view.clone()), view)
}

#[test]
fn calls_spread_by_what_is_in_flight() {
    let (balance, _) = balance(&[worker(1, "a"), worker(2, "a"), worker(3, "a")]);
    let held: Vec<InFlight> = (0..300).filter_map(|_| balance.choose(&[], Instant::now)).collect();
    for number in 1..=3 {
        let count = held.iter().filter(|call| call.address().port() == 7000 + number).count();
        assert!((80..=120).contains(&count), "worker {number} got {count} of 300");
    }
    drop(held);
    assert!(balance.known.borrow().tracks.iter().all(|track| track.in_flight.get() == 0));
}

#[test]
fn a_worker_that_failed_is_left_alone_until_its_time_is_over_or_nobody_else_is_there() {
    let (balance, _) = balance(&[worker(1, "a"), worker(2, "a")]);
    let now = Instant::now();
    let bad = balance.choose(&[], || now).expect("two are there");
    bad.failed(now);
    let address = bad.address();
    for _ in 0..50 {
        assert_ne!(balance.choose(&[], || now).expect("one is left").address(), address);
    }
    let other = balance.choose(&[], || now).expect("one is left").address();
    assert_eq!(balance.choose(&[other], || now).expect("better than none").address(), address);
    assert!(balance.choose(&[other, address], || now).is_none());
    let later = now + FIRST_EJECTION;
    assert!((0..100).any(|_| balance.choose(&[], || later).expect("two are there").address() == address));
}

#[test]
fn a_restarted_worker_begins_with_a_clean_slate_and_a_gone_one_gets_nothing() {
    let (balance, view) = balance(&[worker(1, "a"), worker(2, "a")]);
    let now = Instant::now();
    let first = balance.choose(&[SocketAddr::from(([127, 0, 0, 1], 7002))], || now).expect("there");
    first.failed(now);
    view.store(vec![worker(1, "b")]);
    assert_eq!(balance.choose(&[], || now).expect("there").address().port(), 7001);
    view.store(Vec::new());
    assert!(balance.choose(&[], || now).is_none());
}
