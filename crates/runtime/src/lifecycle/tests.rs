use futures_util::stream;
use tokio::sync::oneshot;

use super::*;

const LONG: Bounds = Bounds { drain: Duration::from_secs(60), stop: Duration::from_secs(60) };
const NONE: Bounds = Bounds { drain: Duration::ZERO, stop: Duration::ZERO };

fn exit(code: ExitCode) -> String {
    format!("{code:?}")
}

async fn until(stopping: CancellationToken) {
    stopping.cancelled().await;
}

#[tokio::test]
async fn a_signal_drains_then_stops_and_exits_with_success() {
    let (signal, watch) = drain::channel();
    let mut tasks = Tasks::new();
    let stopping = tasks.stopping();
    let (order, ended) = oneshot::channel();
    tasks.spawn("worker", {
        let stopping = stopping.clone();
        async move {
            watch.signalled().await;
            let drained_before_stop = !stopping.is_cancelled();
            drop(watch);
            stopping.cancelled().await;
            let _sent = order.send(drained_before_stop);
        }
    });
    let code = run(tasks, signal, LONG, stream::iter(["SIGTERM"]).chain(stream::pending())).await;
    assert_eq!(exit(code), exit(ExitCode::SUCCESS));
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn a_drain_is_bounded_and_what_is_cut_off_is_no_failure() {
    let (signal, watch) = drain::channel();
    let mut tasks = Tasks::new();
    tasks.spawn("worker", until(tasks.stopping()));
    let code = run(
        tasks,
        signal,
        Bounds { drain: Duration::ZERO, ..LONG },
        stream::iter(["SIGTERM"]).chain(stream::pending()),
    )
    .await;
    assert_eq!(exit(code), exit(ExitCode::SUCCESS));
    drop(watch);
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (signal, _watch) = drain::channel();
    let mut tasks = Tasks::new();
    tasks.spawn("worker", std::future::pending::<()>());
    let code = run(tasks, signal, LONG, stream::iter(["SIGTERM", "SIGINT"])).await;
    assert_eq!(exit(code), exit(ExitCode::FAILURE));
}

#[tokio::test]
async fn a_task_that_ends_fails_or_panics_is_an_exit_failure() {
    let ends: [fn(&mut Tasks); 3] = [
        |tasks| tasks.spawn("ends", async {}),
        |tasks| tasks.spawn("fails", async { Err::<(), _>(std::io::Error::other("broken")) }),
        |tasks| tasks.spawn("panics", async { assert!(std::hint::black_box(false), "on purpose") }),
    ];
    for end in ends {
        let (signal, _) = drain::channel();
        let mut tasks = Tasks::new();
        end(&mut tasks);
        let code = run(tasks, signal, LONG, stream::pending()).await;
        assert_eq!(exit(code), exit(ExitCode::FAILURE));
    }
}

#[tokio::test]
async fn a_task_that_does_not_stop_is_aborted_and_reported() {
    let (signal, watch) = drain::channel();
    drop(watch);
    let mut tasks = Tasks::new();
    tasks.spawn("deaf", std::future::pending::<()>());
    let code = run(tasks, signal, NONE, stream::iter(["SIGTERM"]).chain(stream::pending())).await;
    assert_eq!(exit(code), exit(ExitCode::FAILURE));
}
