//! Step 3: which deployments may serve the call here (R7), and in which order they are tried.
//!
//! Start reading at [`place`]; then `standing` (what a core knows of a deployment), `ordering` (the strategies), `cooling` and `budget`.

mod budget;
mod cooling;
mod ordering;
mod standing;

use std::{rc::Rc, sync::Arc, time::Instant};

use bailiwick_domain::{
    egress::AdmittedHost,
    id::ModelId,
    names::ModelName,
    routing::{Fallbacks, Rank},
};
use bailiwick_runtime::{in_place, serving::ApiError};

use crate::{
    error,
    permission::Permitted,
    snapshot::{CredentialEntry, DeploymentEntry, ModelEntry, Snapshot},
};

use self::standing::Standing;
pub(crate) use self::standing::{Attempt, Ill, Standings};

/// Proof that every place in it is one that the region's egress policy and the organization's residency admit by name, and that belongs to the
/// caller's organization. Only [`place`] makes one.
pub(crate) struct Placed<'a>(Box<Found<'a>>);

/// In a place of its own: it is handed from step to step, and what is handed on is copied.
struct Found<'a> {
    permitted: Permitted<'a>,
    places: Places<'a>,
    trail: Trail,
}

/// Where one model may be called, in order of preference. The same proof.
pub(crate) struct Places<'a> {
    model: &'a ModelEntry,
    first: Place<'a>,
    others: Vec<Place<'a>>,
    /// Whether all of them cool down. They are tried all the same where nothing else is left: nobody is refused without a try.
    are_cooling: bool,
}

/// A deployment, the credential to call it with, and the proof that its host may be dialled: whoever dials has to show it, and gets each
/// address judged by it.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    deployment: &'a Arc<DeploymentEntry>,
    credential: &'a Arc<CredentialEntry>,
    host: AdmittedHost<'a>,
    rank: Rank,
    standing: Rc<Standing>,
}

impl<'a> Place<'a> {
    pub(crate) fn deployment(&self) -> &'a Arc<DeploymentEntry> {
        self.deployment
    }

    pub(crate) fn credential(&self) -> &'a CredentialEntry {
        self.credential
    }

    pub(crate) fn host(&self) -> &AdmittedHost<'a> {
        &self.host
    }

    /// How it fares, as far as this core knows.
    pub(crate) fn standing(&self) -> &Rc<Standing> {
        &self.standing
    }
}

impl<'a> Places<'a> {
    pub(crate) fn model(&self) -> &'a ModelEntry {
        self.model
    }

    pub(crate) fn are_cooling(&self) -> bool {
        self.are_cooling
    }

    /// A call begins here: that pays for a part of a retry.
    pub(crate) fn charge(&self) {
        self.first.standing.called();
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = Place<'a>> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl<'a> Placed<'a> {
    pub(crate) fn permitted(&self) -> &Permitted<'a> {
        &self.0.permitted
    }

    pub(crate) fn first(&self) -> &Place<'a> {
        &self.0.places.first
    }

    /// All places of the model, in order of preference.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place<'a>> {
        let places = &self.0.places;
        std::iter::once(&places.first).chain(&places.others)
    }

    /// The places to begin with, and what was tried by then.
    pub(crate) fn into_parts(self) -> (Places<'a>, Trail) {
        (self.0.places, self.0.trail)
    }
}

/// The models that a call has been sent to: none of them twice, and no more than a few, whatever the configuration says.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trail([Option<ModelId>; Fallbacks::LONGEST_CHAIN + 1]);

impl Trail {
    /// One that it allows.
    fn enter(&mut self, id: ModelId) {
        if let Some(free) = self.0.iter_mut().find(|step| step.is_none()) {
            *free = Some(id);
        }
    }

    fn allows(&self, id: ModelId) -> bool {
        self.0.contains(&None) && !self.0.contains(&Some(id))
    }
}

/// The places of the model that was asked for; where it has none, or all of them cool down while those of its fallback do not, its fallback's.
///
/// The key must be allowed to use the model that it asked for. A fallback needs no permission of its own: the administrator who may say which models a key may use has
/// said what stands in for them.
///
/// Errors: 503 when none may be called.
pub(crate) fn place<'a>(
    snapshot: &'a Snapshot,
    permitted: Permitted<'a>,
    standings: &Standings,
    now: Instant,
) -> Result<Placed<'a>, ApiError> {
    snapshot.settings().ok_or_else(error::not_configured)?;
    let mut trail = Trail::default();
    let places = find(snapshot, permitted.model(), standings, &mut trail, now);
    let places = places.ok_or_else(error::no_deployment)?;
    Ok(Placed(in_place::boxed(|| Found { permitted, places, trail })))
}

/// The places of the model that stands behind another, by this name, or of those that stand behind that one. `None`: nothing is left to fall back to.
pub(crate) fn fall_back<'a>(
    snapshot: &'a Snapshot,
    from: &ModelEntry,
    name: &ModelName,
    standings: &Standings,
    trail: &mut Trail,
    now: Instant,
) -> Option<Places<'a>> {
    let next = snapshot.model(&from.organization, name.as_str())?;
    find(snapshot, next, standings, trail, now)
}

fn find<'a>(
    snapshot: &'a Snapshot,
    model: &'a ModelEntry,
    standings: &Standings,
    trail: &mut Trail,
    now: Instant,
) -> Option<Places<'a>> {
    let (mut next, mut cooling) = (Some(model), None);
    for _ in 0..=Fallbacks::LONGEST_CHAIN {
        let Some(model) = next.filter(|model| trail.allows(model.id)) else { break };
        match places(snapshot, model, standings, now) {
            Some(places) if !places.are_cooling => {
                trail.enter(model.id);
                return Some(places);
            }
            found => cooling = cooling.or(found),
        }
        let behind = model.fallbacks.general.as_ref();
        next = behind.and_then(|name| snapshot.model(&model.organization, name.as_str()));
    }
    cooling.inspect(|places: &Places<'_>| trail.enter(places.model.id))
}

fn places<'a>(
    snapshot: &'a Snapshot,
    model: &'a ModelEntry,
    standings: &Standings,
    now: Instant,
) -> Option<Places<'a>> {
    let organization = model.organization;
    let mut found = model.deployments.iter().filter_map(|route| {
        let deployment = snapshot.deployment(&route.id).filter(|found| found.organization == organization)?;
        let host = snapshot.admit(deployment).ok()?;
        let credential =
            snapshot.credential(&deployment.credential).filter(|found| found.organization == organization)?;
        let standing = standings.of(snapshot, deployment, credential);
        Some(Place { deployment, credential, host, rank: route.rank, standing })
    });
    let first = found.next()?;
    let Some(second) = found.next() else {
        let are_cooling = !first.standing.admits(now);
        return Some(Places { model, first, others: Vec::new(), are_cooling });
    };
    let mut all: Vec<Place<'_>> = [first, second].into_iter().chain(found).collect();
    standings.order(model.strategy, &mut all, now);
    all.sort_by_key(|place| !place.standing.admits(now));
    let are_cooling = all.first().is_none_or(|place| !place.standing.admits(now));
    let mut all = all.into_iter();
    Some(Places { model, first: all.next()?, others: all.collect(), are_cooling })
}
