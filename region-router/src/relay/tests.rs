use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn driver() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (Arc::clone(&woken), Waker::from(woken))
}

#[test]
fn what_is_woken_while_it_is_driven_is_polled_again_without_waking_the_driver() {
    let (woken, waker) = driver();
    let relay = Relay::new();
    let mut polls = 0;
    let driven: Poll<()> = relay.drive(&mut Context::from_waker(&waker), |cx| {
        polls += 1;
        if polls < 3 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    });
    assert!(driven.is_pending());
    assert_eq!((polls, woken.0.load(Ordering::SeqCst)), (3, 0));
}

#[test]
fn what_is_woken_afterwards_wakes_the_driver_of_this_moment_once() {
    let ((first, first_waker), (second, second_waker)) = (driver(), driver());
    let relay = Relay::new();
    let mut inside = None;
    for waker in [&first_waker, &second_waker] {
        let driven: Poll<()> = relay.drive(&mut Context::from_waker(waker), |cx| {
            inside = Some(cx.waker().clone());
            Poll::Pending
        });
        assert!(driven.is_pending());
    }
    inside.expect("polled").wake();
    relay.wake();
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert!(relay.is_woken());
}

#[test]
fn nothing_is_polled_for_a_driver_that_comes_for_another_reason() {
    let (_, waker) = driver();
    let relay = Relay::new();
    let mut polls = 0;
    for _ in 0..3 {
        let driven: Poll<()> = relay.drive(&mut Context::from_waker(&waker), |_| {
            polls += 1;
            Poll::Pending
        });
        assert!(driven.is_pending());
    }
    assert_eq!(polls, 1);
}

#[test]
fn what_rests_wakes_nobody_and_has_forgotten_nothing_when_it_is_driven_again() {
    let (woken, waker) = driver();
    let relay = Relay::new();
    let mut cx = Context::from_waker(&waker);
    assert!(relay.drive(&mut cx, |_| Poll::<()>::Pending).is_pending());
    relay.rest();
    relay.wake();
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    assert_eq!(relay.drive(&mut cx, |_| Poll::Ready(7)), Poll::Ready(7));
}
