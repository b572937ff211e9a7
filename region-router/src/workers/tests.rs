use bailiwick_runtime::ops::Ops;

use super::*;

fn worker(number: u16) -> Worker {
    let (name, boot_id) = (format!("worker-{number}"), "a".to_owned());
    Worker { name, address: SocketAddr::from(([127, 0, 0, 1], 7000 + number)), boot_id }
}

#[test]
fn a_view_without_workers_leaves_those_that_were_there_and_says_so() {
    let (workers, ready) = (Workers::default(), Ops::new().readiness().register("discovery"));
    let seen = |workers: &Workers| workers.load().to_vec();

    workers.told(Vec::new(), &ready);
    assert_eq!(seen(&workers), []);
    workers.told(vec![worker(1), worker(2)], &ready);
    workers.told(Vec::new(), &ready);
    assert_eq!(seen(&workers), [worker(1), worker(2)]);
    // Who is not in a view of others is gone.
    workers.told(vec![worker(2)], &ready);
    assert_eq!(seen(&workers), [worker(2)]);
}
