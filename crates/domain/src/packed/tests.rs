use proptest::prelude::*;

use super::*;
use crate::{
    id::{DeploymentId, ModelId, OrganizationId},
    key::{ApiKey, KeyId},
};

const REGIONS: [&str; 3] = ["abc", "euc1", "zone42"];

#[test]
fn an_identifier_is_known_again_by_its_packed_form() {
    for region in REGIONS {
        let text = format!("org_{region}_01JD0W6KQ4V6J5T6T9N2X8Y3ZB");
        let id: OrganizationId = text.parse().unwrap();
        let packed = id.to_packed();
        assert_eq!(packed.len(), region.len() + 16);
        assert_eq!(OrganizationId::from_packed(&packed), Some(id));

        let key = ApiKey::generate(region.parse().unwrap()).key_id();
        assert_eq!(KeyId::from_packed(&key.to_packed()), Some(key));
    }
}

#[test]
fn what_is_no_packed_form_is_nobodys() {
    let local = [b'a'; 16];
    for region in [b"".as_slice(), b"eu", b"EUC1", b"eu-1", b"euc\xff", b"seven77"] {
        let packed = [region, &local].concat();
        assert_eq!(ModelId::from_packed(&packed), None, "{region:?}");
        assert_eq!(KeyId::from_packed(&packed), None, "{region:?}");
    }
    assert_eq!(ModelId::from_packed(b""), None);
    assert_eq!(ModelId::from_packed(&local[..15]), None);
    let no_key = [b"euc1".as_slice(), b"with a space in!"].concat();
    assert_eq!(KeyId::from_packed(&no_key), None);
}

proptest! {
    #[test]
    fn any_bytes_are_the_packed_form_of_at_most_one(packed in prop::collection::vec(any::<u8>(), 0..30)) {
        if let Some(id) = DeploymentId::from_packed(&packed) {
            prop_assert_eq!(id.to_packed(), packed);
        }
    }
}
