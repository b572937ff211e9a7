//! Certificates to present: those that a region gave out, and made-up ones that only look like it.

use std::{fmt, fs, path::Path};

use bailiwick_domain::spiffe::SpiffeId;
use bailiwick_runtime::identity::Material;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

/// A certificate chain and its key, as somebody presents them who checks nothing.
pub(crate) struct Badge {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Badge {
    /// The certificate of an identity's folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let file = folder.join(name);
            fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))
        };
        Self::parse(&read("cert.pem")?, &SecretString::from(read("key.pem")?))
    }

    pub(crate) fn of(material: &Material) -> Result<Self, String> {
        Self::parse(&material.certificate_pem, &material.key_pem)
    }

    /// A certificate that names `holder` and is signed by a root that was made up just now. It is valid in every other respect, so only the
    /// check of the chain can refuse it.
    pub(crate) fn made_up(holder: &SpiffeId) -> Result<Self, String> {
        let made = || -> Result<(String, KeyPair), rcgen::Error> {
            let root_key = KeyPair::generate()?;
            let mut root = CertificateParams::default();
            root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            root.distinguished_name = DistinguishedName::new();
            let name = format!("Bailiwick root of {}", holder.trust_domain);
            root.distinguished_name.push(DnType::CommonName, name);
            let issuer = Issuer::new(root, root_key);
            let key = KeyPair::generate()?;
            let mut leaf = CertificateParams::default();
            leaf.distinguished_name = DistinguishedName::new();
            leaf.subject_alt_names = vec![SanType::URI(holder.to_string().try_into()?)];
            leaf.extended_key_usages =
                vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            Ok((leaf.signed_by(&key, &issuer)?.pem(), key))
        };
        let (certificate, key) = made().map_err(|error| format!("cannot make a certificate: {error}"))?;
        Self::parse(&certificate, &SecretString::from(key.serialize_pem()))
    }

    fn parse(certificates: &str, key: &SecretString) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("the certificate is malformed: {error}"))?;
        // What the parser says of a malformed key could repeat a part of it.
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| "the private key is malformed".to_owned())?;
        Ok(Self { chain, key })
    }
}

/// Opaque: it holds a key.
impl fmt::Debug for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Badge")
    }
}
