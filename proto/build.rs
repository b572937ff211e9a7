//! Compiles the contract. `protoc` must be on the machine: `./deploy/local/up` and
//! `./tests/run` install it when it is missing.

use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 23] = [
    "bailiwick/config/v1/resources.proto",
    "bailiwick/admin/v1/common.proto",
    "bailiwick/admin/v1/organization.proto",
    "bailiwick/admin/v1/key.proto",
    "bailiwick/admin/v1/credential.proto",
    "bailiwick/admin/v1/model.proto",
    "bailiwick/admin/v1/policy.proto",
    "bailiwick/admin/v1/price.proto",
    "bailiwick/admin/v1/usage.proto",
    "bailiwick/admin/v1/audit.proto",
    "bailiwick/admin/v1/region.proto",
    "bailiwick/admin/v1/trust.proto",
    "bailiwick/admin/v1/key_material.proto",
    "bailiwick/admin/v1/backup.proto",
    "bailiwick/admin/v1/destruction.proto",
    "bailiwick/admin/v1/service_account.proto",
    "bailiwick/admin/v1/token.proto",
    "bailiwick/worker/v1/enrollment.proto",
    "bailiwick/worker/v1/trust.proto",
    "bailiwick/worker/v1/configuration.proto",
    "bailiwick/worker/v1/usage.proto",
    "bailiwick/worker/v1/quota.proto",
    "bailiwick/worker/v1/discovery.proto",
];

#[expect(clippy::disallowed_methods, reason = "a build script is told its folder by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let descriptor = PathBuf::from(env::var("OUT_DIR")?).join("bailiwick.bin");
    tonic_prost_build::configure()
        .file_descriptor_set_path(descriptor)
        // Secrets cross the wire in these messages. Prost's derived `Debug` would print them, so
        // they get one by hand in `redacted.rs`.
        .skip_debug([
            ".bailiwick.config.v1.Credential",
            ".bailiwick.config.v1.RegionSettings",
            ".bailiwick.admin.v1.CreateKeyResponse",
            ".bailiwick.admin.v1.RotateKeyResponse",
            ".bailiwick.admin.v1.CreateCredentialRequest",
            ".bailiwick.admin.v1.ReplaceCredentialRequest",
            ".bailiwick.admin.v1.CreateJoinTokenResponse",
            ".bailiwick.admin.v1.CreateServiceAccountResponse",
            ".bailiwick.admin.v1.RotateServiceAccountSecretResponse",
            ".bailiwick.admin.v1.IssueTokenRequest",
            ".bailiwick.admin.v1.IssueTokenResponse",
            ".bailiwick.worker.v1.EnrollRequest",
            ".bailiwick.worker.v1.SignUpResponse",
            // Packed resources, credentials among them.
            ".bailiwick.worker.v1.SnapshotChunk",
        ])
        .bytes(".bailiwick.worker.v1")
        // Its events stay as they are encoded, see `encoded`.
        .extern_path(".bailiwick.worker.v1.ReportRequest", "crate::encoded::ReportRequest")
        .compile_protos(&FILES, &["."])?;
    Ok(())
}
