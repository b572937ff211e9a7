use std::time::Duration;

use bailiwick_domain::spiffe::{ProcessRole, SpiffeId, TrustDomain};
use bailiwick_domain::time::{Clock, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

use super::super::{Identity, Material};

/// A region's certificate authority.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn of(region: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, region);
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{region}.local").try_into().unwrap())];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root_pem = params.self_signed(&key).unwrap().pem();
        let trust_domain = TrustDomain::new(region.parse().unwrap(), "local").unwrap();
        Self { trust_domain, root_pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn name(&self, role: ProcessRole) -> String {
        SpiffeId::new(self.trust_domain.clone(), role, "one").unwrap().to_string()
    }

    pub(crate) fn identity(&self, role: ProcessRole) -> Identity {
        Identity::in_memory(self.trust_domain.clone(), &self.material(role)).unwrap()
    }

    pub(crate) fn material(&self, role: ProcessRole) -> Material {
        self.issue(&[&self.name(role)], 2000, 4000)
    }

    /// An identity whose certificate became valid just now.
    pub(crate) fn reissued(&self, role: ProcessRole) -> Identity {
        let now = Duration::from_micros(u64::try_from(SystemClock.now().as_micros()).unwrap());
        let material = self.sign(&[&self.name(role)], |params| {
            params.not_before = date_time_ymd(1970, 1, 1) + now;
            params.not_after = date_time_ymd(4000, 1, 1);
        });
        Identity::in_memory(self.trust_domain.clone(), &material).unwrap()
    }

    /// A certificate that ended so long ago.
    pub(crate) fn expired(&self, role: ProcessRole, ago: Duration) -> Material {
        let now = Duration::from_micros(u64::try_from(SystemClock.now().as_micros()).unwrap());
        self.sign(&[&self.name(role)], |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(1970, 1, 1) + now - ago;
        })
    }

    /// A certificate for any names, valid from the beginning of one year to that of another.
    pub(crate) fn issue(&self, uris: &[&str], from: i32, to: i32) -> Material {
        self.sign(uris, |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        })
    }

    /// An identity whose certificate expires soon.
    pub(crate) fn short_lived(&self, role: ProcessRole, left: Duration) -> Identity {
        let now = Duration::from_micros(u64::try_from(SystemClock.now().as_micros()).unwrap());
        let material = self.sign(&[&self.name(role)], |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(1970, 1, 1) + now + left;
        });
        Identity::in_memory(self.trust_domain.clone(), &material).unwrap()
    }

    /// A certificate of a good name, with one thing about it that is not as the region's authority does it.
    pub(crate) fn forge(
        &self,
        role: ProcessRole,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Material {
        Self::forged(&self.params(role, change), key, &self.issuer, &self.root_pem)
    }

    /// One that somebody else of the region has signed, with the signer's own behind it.
    pub(crate) fn forge_below(
        &self,
        role: ProcessRole,
        signer: impl FnOnce(&mut CertificateParams),
    ) -> Material {
        let signer_key = KeyPair::generate().unwrap();
        let signer = self.params(role, signer);
        let between = signer.signed_by(&signer_key, &self.issuer).unwrap().pem();
        let issuer = Issuer::new(signer, signer_key);
        let key = KeyPair::generate().unwrap();
        let mut material = Self::forged(&self.params(role, |_| ()), &key, &issuer, &self.root_pem);
        material.certificate_pem += &between;
        material
    }

    fn params(&self, role: ProcessRole, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(self.name(role).try_into().unwrap())];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(4000, 1, 1);
        change(&mut params);
        params
    }

    fn forged(
        params: &CertificateParams,
        key: &KeyPair,
        issuer: &Issuer<'_, KeyPair>,
        root_pem: &str,
    ) -> Material {
        Material {
            root_pem: root_pem.to_owned(),
            certificate_pem: params.signed_by(key, issuer).unwrap().pem(),
            key_pem: key.serialize_pem().into(),
        }
    }

    fn sign(&self, uris: &[&str], valid: impl FnOnce(&mut CertificateParams)) -> Material {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        valid(&mut params);
        Material {
            root_pem: self.root_pem.clone(),
            certificate_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key_pem: key.serialize_pem().into(),
        }
    }
}

/// How long a test waits before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
