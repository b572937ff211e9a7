//! Limits, lent over real connections to workers that keep their accounts as the crate of the rules does.

use std::{collections::BTreeSet, time::Instant};

use bailiwick_core::limit::NewLimit;
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    key::ApiKey,
    region::Regions,
    spiffe::ProcessRole,
    time::{Clock, SystemClock},
    usage::RequestId,
};
use bailiwick_proto::{
    convert::quota::{from_holder_to_wire, to_holder_from_wire},
    status::{reason_of, violations_of},
    worker::v1::{ExchangeRequest, ExchangeResponse, quota_service_client::QuotaServiceClient},
};
use bailiwick_quota::{
    allocator::AccountUse,
    holder::{Holder, Monotonic, Outcome, Reservation, Used, Want},
    limit::{Account, Call, Limit, Measure, Over},
    policy::Policy,
    protocol::{Consumed, Exchange, FromHolder, Hello, HolderId, Report, Settlement, ToHolder},
};
use bailiwick_runtime::identity::Identity;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::world::{World, eventually};

const EUROPE: &str = "eu-central-1";

fn spent(nano_usd: u64) -> Used {
    Used { tokens: 0, nano_usd }
}

/// One stream of a worker.
struct Line {
    here: Jurisdiction,
    up: mpsc::Sender<ExchangeRequest>,
    down: Streaming<ExchangeResponse>,
}

impl Line {
    async fn open(world: &World, identity: &Identity) -> Self {
        let (up, requests) = mpsc::channel(64);
        let mut client = QuotaServiceClient::new(world.channel(identity));
        let down = client.exchange(ReceiverStream::new(requests)).await.expect("open").into_inner();
        Self { here: world.control_plane.parts.jurisdiction.clone(), up, down }
    }

    async fn say(&self, message: &FromHolder) {
        self.up.send(from_holder_to_wire(message)).await.expect("open");
    }

    async fn heard(&mut self) -> Result<Option<ToHolder>, Status> {
        let Some(message) = self.down.message().await? else { return Ok(None) };
        Ok(Some(to_holder_from_wire(&self.here, &message).expect("of this region")))
    }

    async fn name(&mut self, supersedes: Vec<HolderId>) -> HolderId {
        self.say(&FromHolder::Hello(Hello { nonce: 7, supersedes })).await;
        match self.heard().await.expect("answered") {
            Some(ToHolder::Welcome { nonce: 7, holder }) => holder,
            other => panic!("{other:?}"),
        }
    }
}

/// A worker that limits calls.
struct Worker {
    line: Line,
    holder: Holder,
    began: Instant,
}

impl Worker {
    async fn join(world: &World, identity: &Identity, supersedes: Vec<HolderId>) -> Self {
        let line = Line::open(world, identity).await;
        let mut worker =
            Self { line, holder: Holder::new(Policy::default(), 7, supersedes), began: Instant::now() };
        worker.holder.connected();
        worker.exchange().await;
        worker.exchange().await;
        worker
    }

    fn now(&self) -> Monotonic {
        Monotonic::from_micros(u64::try_from(self.began.elapsed().as_micros()).expect("short"))
    }

    /// A message, and its answer.
    async fn exchange(&mut self) {
        self.line.say(&self.holder.exchange(self.now())).await;
        let answer = self.line.heard().await.expect("answered").expect("open");
        self.holder.hear(&answer, self.now());
    }

    /// Takes units for a call; asks for them where it must, until they are there or refused.
    async fn reserve(&mut self, account: Account, limit: &Limit, units: u64) -> Option<Reservation> {
        let cell = self.holder.cell(account, limit);
        let mut outcome = self.holder.try_reserve(&[Want { cell: &cell, units }], self.now());
        loop {
            match outcome {
                Outcome::Reserved(reservation) => return Some(reservation),
                Outcome::Refused(_) => return None,
                Outcome::Wait(waiting) => {
                    self.exchange().await;
                    outcome = self.holder.try_again(waiting, &[Want { cell: &cell, units }], self.now());
                }
            }
        }
    }

    /// Calls of one unit until one is refused; how many went through.
    async fn use_up(&mut self, account: Account, limit: &Limit) -> u64 {
        let mut admitted = 0;
        while let Some(reservation) = self.reserve(account, limit, 1).await {
            reservation.settle(spent(1));
            admitted += 1;
        }
        admitted
    }
}

/// A limit of a new organization, and the account of all its calls.
async fn limit(world: &World, measure: Measure, amount: u64) -> (Local<OrganizationId>, Limit, Account) {
    let organization = world.organization().await;
    let limit = limit_of(world, organization, measure, amount).await;
    (organization, limit, account_of(world, &limit))
}

async fn limit_of(
    world: &World,
    organization: Local<OrganizationId>,
    measure: Measure,
    amount: u64,
) -> Limit {
    let new = NewLimit {
        idempotency_key: RequestId::random().to_string().parse().expect("a good key"),
        organization,
        measure,
        amount,
        keys: Over::All,
        models: Over::All,
        deployments: Over::All,
    };
    let made = world.control_plane.limit_create(&world.operator(), new).await.expect("made");
    made.0.limit
}

fn account_of(world: &World, limit: &Limit) -> Account {
    let here = &world.control_plane.parts.jurisdiction;
    let call = Call {
        organization: limit.id().organization,
        key: ApiKey::generate(here.code()).key_id(),
        member: None,
        model: here.mint_random(SystemClock.now()).into_inner(),
        deployment: None,
    };
    limit.account(&call).expect("its own organization")
}

async fn standing(world: &World, organization: Local<OrganizationId>) -> Option<AccountUse> {
    let told = world.control_plane.limit_usage(&world.operator(), organization).await.expect("told");
    told.into_iter().next()
}

#[tokio::test]
async fn two_workers_together_are_admitted_what_the_limit_says_and_no_more() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::NanoUsdTotal, 100).await;
    let (one, other) =
        (world.join(ProcessRole::Worker, "one").await, world.join(ProcessRole::Worker, "other").await);
    let mut one = Worker::join(&world, &one, Vec::new()).await;
    let mut other = Worker::join(&world, &other, Vec::new()).await;
    let mut admitted = 0;
    for _ in 0..30 {
        for worker in [&mut one, &mut other] {
            let reservation = worker.reserve(account, &limit, 1).await.expect("there is enough");
            reservation.settle(spent(1));
            admitted += 1;
        }
    }
    // What lies idle at one is recalled for the other, while both are there to hear of it; what comes back late is found in another round.
    for _ in 0..50 {
        let (from_one, from_other) = tokio::join!(one.use_up(account, &limit), other.use_up(account, &limit));
        admitted += from_one + from_other;
        assert!(admitted <= 100, "{admitted} of 100");
        if admitted == 100 {
            break;
        }
    }
    assert_eq!(admitted, 100);
    one.exchange().await;
    other.exchange().await;
    let stands = standing(&world, organization).await.expect("known");
    assert_eq!((stands.amount, stands.used, stands.lent, stands.in_doubt), (100, 100, 0, 0));
}

#[tokio::test]
async fn what_is_lent_is_known_to_whoever_takes_office_next() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::NanoUsdTotal, 100).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut worker = Worker::join(&world, &identity, Vec::new()).await;
    for _ in 0..40 {
        worker.reserve(account, &limit, 1).await.expect("there is enough").settle(spent(1));
    }
    drop(worker);
    let world = world.restart(EUROPE).await;
    // Its life is not known to be over: what it was lent is out of everybody's reach.
    let identity = world.join(ProcessRole::Worker, "two").await;
    let mut second = Worker::join(&world, &identity, Vec::new()).await;
    let admitted = second.use_up(account, &limit).await;
    assert!(admitted <= 60, "{admitted} of 100, of which 40 were used before");
    second.exchange().await;
    let stands = standing(&world, organization).await.expect("known");
    assert!(stands.used + stands.lent + stands.in_doubt <= 100, "{stands:?}");
}

#[tokio::test]
async fn a_limit_is_lent_by_as_soon_as_it_is_made_and_no_longer_than_it_is_there() {
    let world = World::new(EUROPE).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut worker = Worker::join(&world, &identity, Vec::new()).await;
    let (organization, limit, account) = limit(&world, Measure::NanoUsdTotal, 3).await;
    eventually("the limit is lent by", async || worker.reserve(account, &limit, 1).await.is_some()).await;
    let caller = world.operator();
    world.control_plane.limit_update(&caller, organization, 1, 1000).await.expect("changed");
    eventually("the new amount holds", async || {
        worker.exchange().await;
        standing(&world, organization).await.is_some_and(|stands| stands.amount == 1000)
    })
    .await;
    world.control_plane.limit_delete(&caller, organization, 1).await.expect("deleted");
    eventually("nothing is known of it", async || standing(&world, organization).await.is_none()).await;
    let second = limit_of(&world, organization, Measure::NanoUsdTotal, 2).await;
    assert_eq!(second.id().number, 2);
}

#[tokio::test]
async fn r3_a_worker_speaks_in_its_own_names_alone_and_ends_no_other_ones_life() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::ParallelRequests, 10).await;
    let victim = world.join(ProcessRole::Worker, "victim").await;
    let mut victim = Worker::join(&world, &victim, Vec::new()).await;
    let held: Vec<Reservation> = {
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(victim.reserve(account, &limit, 1).await.expect("there is enough"));
        }
        held
    };
    victim.exchange().await;
    let FromHolder::Exchange(said) = victim.holder.exchange(victim.now()) else { panic!("named") };
    let name = said.holder;

    let thief = world.join(ProcessRole::Worker, "thief").await;
    let mut line = Line::open(&world, &thief).await;
    // All that the victim holds is given back in its name, and its life is said to be over.
    let report = Report {
        account,
        window_starts: bailiwick_quota::window::Window::ALWAYS.starts,
        opening: 0,
        extra_seen: 0,
        consumed: 0,
        held: 0,
        returned: u64::MAX,
        urgent: 0,
        demand: 0,
        standing_version: u64::MAX,
        recall: u64::MAX,
    };
    for leaving in [false, true] {
        let forged = FromHolder::Exchange(Exchange {
            holder: name,
            sequence: 1 << 40,
            leaving,
            reports: vec![report],
        });
        line.say(&forged).await;
        assert_eq!(line.heard().await.expect("answered"), Some(ToHolder::Unknown { holder: name }));
    }
    let own = line.name(vec![name]).await;
    assert_ne!(own, name);
    let mut thief = Worker::join(&world, &thief, vec![name]).await;
    assert!(thief.reserve(account, &limit, 1).await.is_none(), "ten calls run");
    let stands = standing(&world, organization).await.expect("known");
    assert_eq!((stands.used, stands.in_doubt), (10, 0));
    // The victim goes on as if nothing had been.
    victim.exchange().await;
    drop(held);
    victim.exchange().await;
    assert!(victim.reserve(account, &limit, 1).await.is_some());
}

#[tokio::test]
async fn a_worker_that_comes_again_ends_its_own_earlier_life_and_its_earlier_stream() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::ParallelRequests, 10).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut first = Worker::join(&world, &identity, Vec::new()).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(first.reserve(account, &limit, 1).await.expect("there is enough"));
    }
    first.exchange().await;
    let FromHolder::Exchange(said) = first.holder.exchange(first.now()) else { panic!("named") };
    let mut second = Worker::join(&world, &identity, vec![said.holder]).await;
    let mut again = Vec::new();
    for _ in 0..10 {
        again.push(second.reserve(account, &limit, 1).await.expect("the earlier calls are over"));
    }
    second.exchange().await;
    assert_eq!(standing(&world, organization).await.expect("known").used, 10);
    let ended = first.line.heard().await;
    assert!(matches!(ended, Ok(None) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn what_a_dead_worker_used_is_settled_by_its_own_next_life_alone_and_once() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::NanoUsdTotal, 1000).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut worker = Worker::join(&world, &identity, Vec::new()).await;
    let dead = worker.holder.name().expect("named");
    let mut used = 0;
    for _ in 0..7 {
        let call = worker.reserve(account, &limit, 10).await.expect("there is enough");
        call.settle_telling(spent(9), |charge| {
            assert_eq!((charge.account, charge.holder), (account, dead));
            used += charge.units;
        });
    }
    assert_eq!(used, 63);
    drop(worker);
    let window_starts = bailiwick_quota::window::Window::ALWAYS.starts;
    let settlement = |units| {
        let used = vec![Consumed { account, window_starts, units }];
        FromHolder::Settlement(Settlement { holder: dead, used })
    };

    // Somebody else's word about it is nothing.
    let thief = world.join(ProcessRole::Worker, "thief").await;
    let mut line = Line::open(&world, &thief).await;
    line.say(&settlement(0)).await;
    assert_eq!(line.heard().await.expect("answered"), Some(ToHolder::Unknown { holder: dead }));

    let mut line = Line::open(&world, &identity).await;
    line.name(vec![dead]).await;
    let stands = standing(&world, organization).await.expect("known");
    assert!(stands.used == 0 && stands.in_doubt > 63, "{stands:?}");

    // Another control plane hears it, twice.
    let world = world.restart(EUROPE).await;
    let mut line = Line::open(&world, &identity).await;
    for answer in [ToHolder::Settled { holder: dead }, ToHolder::Unknown { holder: dead }] {
        line.say(&settlement(63)).await;
        assert_eq!(line.heard().await.expect("answered"), Some(answer));
        let stands = standing(&world, organization).await.expect("known");
        assert_eq!((stands.used, stands.lent, stands.in_doubt), (63, 0, 0));
    }
    let world = world.restart(EUROPE).await;
    eventually("the next one in office knows it too", async || {
        let told = world.control_plane.limit_usage(&world.operator(), organization).await;
        told.is_ok_and(|told| told.iter().map(|stands| stands.used).collect::<Vec<_>>() == [63])
    })
    .await;
}

#[tokio::test]
async fn of_a_worker_that_leaves_exactly_what_it_used_counts() {
    let world = World::new(EUROPE).await;
    let (organization, limit, account) = limit(&world, Measure::NanoUsdTotal, 1000).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut worker = Worker::join(&world, &identity, Vec::new()).await;
    for _ in 0..7 {
        worker.reserve(account, &limit, 10).await.expect("there is enough").settle(spent(10));
    }
    let farewell = worker.holder.leave(worker.now());
    worker.line.say(&farewell).await;
    while let Ok(Some(_)) = worker.line.heard().await {}
    let stands = standing(&world, organization).await.expect("known");
    assert_eq!((stands.used, stands.lent, stands.in_doubt), (70, 0, 0));
    let world = world.restart(EUROPE).await;
    eventually("the next one in office knows it too", async || {
        let told = world.control_plane.limit_usage(&world.operator(), organization).await;
        told.is_ok_and(|told| told.iter().map(|stands| stands.used).collect::<Vec<_>>() == [70])
    })
    .await;
}

#[tokio::test]
async fn r5_an_account_of_another_region_ends_the_stream_and_is_recorded() {
    let world = World::new(EUROPE).await;
    let identity = world.join(ProcessRole::Worker, "one").await;
    let mut line = Line::open(&world, &identity).await;
    let holder = line.name(Vec::new()).await;
    let regions = Regions::builtin();
    let elsewhere = Jurisdiction::of(regions.by_name_str("us-west-1").expect("built in"));
    let (_, _, account) = limit(&world, Measure::RequestsPerMinute, 10).await;
    let mut foreign = account;
    foreign.limit.organization = elsewhere.mint_random(SystemClock.now()).into_inner();
    let report = Report {
        account: foreign,
        window_starts: bailiwick_quota::window::Window::ALWAYS.starts,
        opening: 0,
        extra_seen: 0,
        consumed: 0,
        held: 0,
        returned: 0,
        urgent: 1,
        demand: 0,
        standing_version: 0,
        recall: 0,
    };
    line.say(&FromHolder::Exchange(Exchange { holder, sequence: 1, leaving: false, reports: vec![report] }))
        .await;
    let refused = line.heard().await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&refused).as_deref(), Some("wrong_region"));

    let mut line = Line::open(&world, &identity).await;
    line.up.send(ExchangeRequest { kind: None }).await.expect("open");
    let refused = line.heard().await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(violations_of(&refused)[0].field, "kind");
    let names: BTreeSet<_> = [line.name_again(&world, &identity).await, holder].into();
    assert_eq!(names.len(), 2, "no name is given twice");
}

impl Line {
    async fn name_again(&mut self, world: &World, identity: &Identity) -> HolderId {
        *self = Self::open(world, identity).await;
        self.name(Vec::new()).await
    }
}
