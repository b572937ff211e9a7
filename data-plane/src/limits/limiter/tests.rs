use std::pin::Pin;

use bailiwick_domain::{key::ApiKey, usage::CallType};
use bailiwick_quota::{limit::Measure, policy::Policy};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::task::JoinSet;

use super::{
    super::tests::{home, limit, organization},
    *,
};
use crate::request;

type Reserving<'a> = LocalBoxFuture<'a, Result<Reserved, ApiError>>;

struct Desk {
    limiter: Limiter,
    lent: Arc<Lent>,
    limits: Arc<[Limit]>,
    call: LimitedCall,
    estimate: Estimate,
}

impl Desk {
    fn new() -> Self {
        let lent = Arc::new(Lent::new(Policy::default(), Vec::new()));
        let body = bytes::Bytes::from_static(br#"{"model":"m"}"#);
        let (key, model) =
            (ApiKey::generate(home().code()).key_id(), home().mint(Timestamp::default(), 1).into_inner());
        Self {
            limiter: Limiter::new(Arc::clone(&lent), CoreMetrics::default()),
            lent,
            limits: [limit(organization(), 1, Measure::RequestsPerMinute, 100)].into(),
            call: LimitedCall { organization: organization(), key, model, deployment: None },
            estimate: Estimate::from(CallType::Embedding, &request::scan(&body).unwrap(), 0, None),
        }
    }

    fn reserve(&self) -> Reserving<'_> {
        let shape = ErrorShape::OpenAi;
        let reserving =
            self.limiter.reserve(&self.call, &self.limits, &self.estimate, shape, Timestamp::default());
        reserving.boxed_local()
    }
}

/// Whether it waits, once it was looked at.
fn waits(reserving: &mut Reserving<'_>) -> bool {
    Pin::new(reserving).now_or_never().is_none()
}

#[tokio::test]
async fn no_more_calls_wait_than_may_and_one_that_leaves_makes_room() {
    let desk = Desk::new();
    let mut waiting: Vec<Reserving<'_>> = (0..MOST_WAITING).map(|_| desk.reserve()).collect();
    assert!(waiting.iter_mut().all(waits));
    let Some(Err(refused)) = desk.reserve().now_or_never() else { panic!("it waits, or was admitted") };
    assert_eq!((refused.status.as_u16(), refused.code), (429, "rate_limit_exceeded"));
    assert!(refused.message.contains("could not be shared in time"), "{}", refused.message);
    drop(waiting.pop());
    assert!(waits(&mut desk.reserve()));
}

#[tokio::test]
async fn whoever_waits_is_answered_as_soon_as_it_is_known_that_nobody_will() {
    let desk = Desk::new();
    let mut waiting = desk.reserve();
    assert!(waits(&mut waiting));
    desk.lent.disconnected();
    let Some(Err(refused)) = waiting.now_or_never() else { panic!("it waits on") };
    assert!(refused.message.contains("cannot be shared now"), "{}", refused.message);
    let Some(Err(_)) = desk.reserve().now_or_never() else { panic!("nobody is to be asked") };
}

#[tokio::test]
async fn a_call_that_waits_asks_at_once() {
    let desk = Desk::new();
    let mut asked = JoinSet::new();
    let lent = Arc::clone(&desk.lent);
    asked.spawn(async move { lent.asked().await });
    assert!(waits(&mut desk.reserve()));
    tokio::time::timeout(std::time::Duration::from_secs(20), asked.join_next()).await.unwrap();
}
