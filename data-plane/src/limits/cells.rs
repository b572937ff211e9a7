//! Which accounts a call is charged to. Found once for each key and model, and for each deployment that it is sent to where limits are about those, on each core: after that a call's path has neither lock nor allocation.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    key::KeyId,
};
use bailiwick_quota::{
    holder::{Cell, Holder},
    limit::{Call, Limit, Scope},
};

/// Keys and models that a core remembers, about 300 bytes each. Past that it begins anew: what is found again costs a lock.
const MOST_REMEMBERED: usize = 16_384;

/// A call, as limits see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitedCall {
    pub(crate) organization: OrganizationId,
    pub(crate) key: KeyId,
    pub(crate) model: ModelId,
    /// Where it is sent: then limits of deployments are about it, and no others.
    pub(crate) deployment: Option<DeploymentId>,
}

/// A limit that is about the call, and its account's cell.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) cell: Arc<Cell>,
    /// For whom the limit is, to be told.
    pub(super) scope: Scope,
}

/// What one core remembers.
#[derive(Debug, Default)]
pub(super) struct Cells(RefCell<HashMap<Name, Found>>);

/// Calls that have the same cells.
type Name = (KeyId, ModelId, Option<DeploymentId>);

#[derive(Debug)]
struct Found {
    /// The limits that it was found by: others replace it.
    by: Arc<[Limit]>,
    held: Rc<[Held]>,
}

impl Cells {
    /// The cells of all limits that are about the call.
    pub(super) fn of(&self, call: &LimitedCall, limits: &Arc<[Limit]>, holder: &Holder) -> Rc<[Held]> {
        let mut remembered = self.0.borrow_mut();
        let name = (call.key, call.model, call.deployment);
        if let Some(found) = remembered.get(&name)
            && Arc::ptr_eq(&found.by, limits)
        {
            return Rc::clone(&found.held);
        }
        let held = find(call, limits, holder);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        let found = Found { by: Arc::clone(limits), held: Rc::clone(&held) };
        remembered.insert(name, found);
        held
    }
}

fn find(call: &LimitedCall, limits: &[Limit], holder: &Holder) -> Rc<[Held]> {
    let LimitedCall { organization, key, model, deployment } = *call;
    let call = Call { organization, key, member: None, model, deployment };
    let about = limits.iter().filter(|limit| limit.is_of_deployments() == deployment.is_some());
    let of_call = about.filter_map(|limit| Some((limit, limit.account(&call)?)));
    of_call
        .map(|(limit, account)| Held { cell: holder.cell(account, limit), scope: *limit.scope() })
        .collect()
}
