//! `Debug` for messages that carry secrets: the identifiers, never the secret.

use std::fmt;

use crate::{admin::v1 as admin, config::v1 as config, worker::v1 as worker};

macro_rules! redacted {
    ($type:ty, $($field:ident),* ; $($secret:ident),+) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &self.$field))*
                    $(.field(stringify!($secret), &"[redacted]"))+
                    .finish()
            }
        }
    };
}

redacted!(config::Credential, id, organization_id; secret);
redacted!(config::RegionSettings, region_code, egress_rules, jurisdiction, issuer_rules; pepper);
redacted!(admin::CreateKeyResponse, key, change; api_key);
redacted!(admin::RotateKeyResponse, key, old_key, change; api_key);
redacted!(admin::CreateCredentialRequest, organization_id; secret, name);
redacted!(admin::ReplaceCredentialRequest, id; secret);
redacted!(admin::CreateJoinTokenResponse, expires_at_micros; join_token);
redacted!(admin::CreateServiceAccountResponse, service_account; service_account_secret);
redacted!(admin::RotateServiceAccountSecretResponse, service_account; service_account_secret);
redacted!(admin::IssueTokenRequest, lifetime_seconds; service_account_secret);
redacted!(admin::IssueTokenResponse, expires_at_micros, service_account_id, organization_id, role; token);
redacted!(worker::EnrollRequest, csr_pem; join_token);
redacted!(worker::SignUpResponse, organization_id, key_id; api_key);
redacted!(worker::SnapshotChunk, epoch, revision, index, last; payload);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_message_does_not_print_it() {
        let credential = config::Credential {
            id: "cred_x".into(),
            organization_id: "org_x".into(),
            secret: "sk-canary".into(),
        };
        let resource = config::Resource { kind: Some(config::resource::Kind::Credential(credential)) };
        let printed = format!("{resource:?}");
        assert!(printed.contains("cred_x"), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}
