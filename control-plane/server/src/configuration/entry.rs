//! One resource as the log keeps it: encoded, because that is what is sent, digested and compared.

use std::{fmt, sync::Arc};

use bailiwick_proto::{
    config::v1::{Resource, ResourceId, ResourceKind, resource::Kind},
    convert,
    digest::{self, Digest},
};
use prost::Message as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Names a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) kind: ResourceKind,
    pub(crate) id: Arc<str>,
}

impl Name {
    pub(crate) fn new(kind: ResourceKind, id: &str) -> Self {
        Self { kind, id: id.into() }
    }

    /// 0 to 255.
    pub(crate) fn shard(&self) -> u8 {
        digest::shard_of(self.kind, &self.id)
    }

    pub(crate) fn to_wire(&self) -> ResourceId {
        ResourceId { kind: self.kind.into(), id: self.id.to_string() }
    }
}

/// A resource in its canonical encoding. The bytes may hold a secret: they are zeroed on drop and never printed.
pub(crate) struct Entry {
    pub(crate) name: Name,
    /// Text form of the organization that it goes with; `None` for the region's settings.
    pub(crate) organization: Option<Arc<str>>,
    pub(crate) encoding: Zeroizing<Vec<u8>>,
    pub(crate) digest: Digest,
}

impl Entry {
    /// Encodes a resource, and zeroes the secrets in it. `None` for one without content.
    pub(crate) fn new(mut resource: Resource) -> Option<Self> {
        let id = convert::resource_id(&resource)?;
        let name = Name::new(id.kind(), &id.id);
        let encoding = Zeroizing::new(resource.encode_to_vec());
        let organization = resource.kind.as_mut().and_then(|kind| {
            let organization = match kind {
                Kind::RegionSettings(settings) => {
                    settings.pepper.zeroize();
                    return None;
                }
                Kind::Credential(credential) => {
                    credential.secret.zeroize();
                    &credential.organization_id
                }
                Kind::Organization(organization) => &organization.id,
                Kind::ApiKey(key) => &key.organization_id,
                Kind::Model(model) => &model.organization_id,
                Kind::Deployment(deployment) => &deployment.organization_id,
            };
            Some(Arc::from(organization.as_str()))
        });
        let digest = digest::encoded_digest(&encoding);
        Some(Self { name, organization, encoding, digest })
    }

    /// The resource as a message, to be sent at once. What was encoded here decodes; the default stands for what cannot be.
    pub(crate) fn to_wire(&self) -> Resource {
        Resource::decode(self.encoding.as_slice()).unwrap_or_default()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?} {})", self.name.kind, self.name.id)
    }
}
