//! Where a call goes that its host's name does not tell: some providers let a model's name, or the path, choose other places to process it at.
//!
//! Azure does so too, and cannot be seen through: whether a deployment is `Global`, `DataZone` or regional was chosen when it was made, and neither its name nor its endpoint
//! tells. So the catalogue counts Azure's hosts as global, and an operator who states a resource's jurisdiction answers for its deployments' types.

use crate::law::LegalJurisdiction;

/// Prefixes of Amazon Bedrock's cross-region inference profiles, and whose law holds where they process
/// (<https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>, 2026-11-25). `apac` is many countries.
const GEOGRAPHIES: [(&str, &str); 8] = [
    ("us", "us"),
    ("us-gov", "us"),
    ("eu", "eu"),
    ("ca", "ca"),
    ("jp", "jp"),
    ("au", "au"),
    ("apac", "apac"),
    ("global", "global"),
];
/// Kinds of Bedrock's resources that stay in the region that their ARN names.
const REGIONAL: [&str; 4] = ["foundation-model/", "custom-model/", "imported-model/", "provisioned-model/"];

/// Another place than the host's own, where the path or the model chooses one.
pub(super) fn beyond(host: &str, path: &str, model: &str) -> Option<LegalJurisdiction> {
    if host == "aiplatform.googleapis.com" {
        // Vertex AI's global endpoint, whatever a rule says of it.
        return Some(LegalJurisdiction::global());
    }
    if let Some(location) = host.strip_suffix("-aiplatform.googleapis.com") {
        return vertex(location, path);
    }
    let bedrock =
        host.contains("bedrock") && (host.ends_with(".amazonaws.com") || host.ends_with(".api.aws"));
    if bedrock { profile(model) } else { None }
}

/// A regional endpoint of Vertex AI is asked for resources of its own location.
fn vertex(own: &str, path: &str) -> Option<LegalJurisdiction> {
    if path.contains('%') {
        // What the provider makes of it is not ours to guess.
        return Some(LegalJurisdiction::global());
    }
    let (_, asked) = path.split_once("/locations/")?;
    let asked = asked.split('/').next().unwrap_or_default();
    (asked != own).then(LegalJurisdiction::global)
}

fn profile(model: &str) -> Option<LegalJurisdiction> {
    let name = match model.strip_prefix("arn:") {
        None => model,
        Some(arn) => {
            let resource = arn.splitn(5, ':').nth(4).unwrap_or_default();
            match resource.strip_prefix("inference-profile/") {
                Some(name) => name,
                None if REGIONAL.iter().any(|kind| resource.starts_with(kind)) => return None,
                // A profile of one's own, a router of prompts: its name does not tell where it leads.
                None => return Some(LegalJurisdiction::global()),
            }
        }
    };
    let (prefix, _) = name.split_once('.')?;
    let (_, law) = GEOGRAPHIES.iter().find(|(geography, _)| geography.eq_ignore_ascii_case(prefix))?;
    law.parse().ok()
}
