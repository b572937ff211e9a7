//! Words that are planted in a region, to be searched for on other regions' wires.

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    admin::{Admin, fresh},
    calls::Application,
    eventually,
    installation::{Installation, Region},
};

/// A word, and the only region that may know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Canary {
    /// Its region.
    pub region: String,
    /// What it was planted as.
    pub kind: String,
    /// Nothing else on earth has this word.
    pub word: String,
    /// Whether it crosses the region's own interface in the clear: then it has to be found there, or the search is worth nothing.
    pub plain: bool,
}

impl Canary {
    /// A new word.
    pub fn hatch(region: &str, kind: &str, plain: bool) -> Self {
        let word = format!("finch{:016x}", rand::random::<u64>());
        Self { region: region.to_owned(), kind: kind.to_owned(), word, plain }
    }

    fn known(region: &str, kind: &str, word: String, plain: bool) -> Self {
        Self { region: region.to_owned(), kind: kind.to_owned(), word, plain }
    }
}

/// Plants an organization, its owner's address, a key, a credential and a prompt in each region, and tells them to the wire test. What a test does to the installation
/// afterwards, it does to these too.
///
/// The prompt names a model that does not exist: router and worker have read it when they refuse it, and no test finds a call that it did not make.
pub async fn plant(installation: &Installation, folder: &Path) {
    let mut canaries = Vec::new();
    for (name, region) in &installation.regions {
        canaries.extend(planted_in(name, region).await);
    }
    record(&canaries, folder);
}

/// Tells the wire test of canaries.
pub fn record(canaries: &[Canary], folder: &Path) {
    let file = folder.join(format!("{:032x}.json", rand::random::<u128>()));
    fs::write(file, serde_json::to_string(canaries).expect("JSON")).expect("the canaries");
}

/// All that were recorded in a folder.
pub fn recorded(folder: &Path) -> Vec<Canary> {
    let files = fs::read_dir(folder).expect("the canaries").map(|entry| entry.expect("an entry").path());
    let read = |file: std::path::PathBuf| -> Vec<Canary> {
        serde_json::from_str(&fs::read_to_string(file).expect("canaries")).expect("canaries")
    };
    let mut all: Vec<Canary> = files.flat_map(read).collect();
    all.sort();
    all.dedup();
    all
}

async fn planted_in(name: &str, region: &Region) -> Vec<Canary> {
    let hatch = |kind: &str, plain: bool| Canary::hatch(name, kind, plain);
    let (organization, owner) = (hatch("organization's name", true), hatch("owner's address", true));
    let (secret, key_name) = (hatch("credential", false), hatch("key's name", false));
    let prompt = hatch("prompt", true);

    let asked = json!({
        "region": name,
        "organization_name": organization.word,
        "email": format!("{}@example.com", owner.word),
    });
    let (id, key) = sign_up(&Application::of(region), &asked).await;
    let admin = Admin::of(name, region);
    admin.new_credential(&id, &secret.word).await;
    let request = bailiwick_proto::admin::v1::CreateKeyRequest {
        idempotency_key: fresh(),
        organization_id: id,
        name: key_name.word.clone(),
        ..Default::default()
    };
    admin.keys().create_key(request).await.expect("a key");
    let application = Application::new(&region.base_url, &key);
    eventually("the new key is known", || async {
        let answer = application.chat("no-such-model", &prompt.word, false).await.ok()?;
        (answer.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    // What `bailiwick-local up` itself said in this region; and its new organization's key, which is presented nowhere else.
    let said = Canary::known(name, "prompt of `up`", format!("what {name} is."), true);
    let named = Canary::known(name, "organization of `up`", format!("Local organization in {name}"), true);
    let key = Canary::known(name, "key", secret_part(&key).to_owned(), true);
    vec![organization, owner, secret, key_name, prompt, said, named, key]
}

async fn sign_up(application: &Application, asked: &Value) -> (String, String) {
    let answer = application.post("/signup", asked).await.expect("an answer");
    let status = answer.status();
    let made: Value = answer.json().await.expect("JSON");
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{status}: {made}")).to_owned();
    (text("organization_id"), text("api_key"))
}

/// `bw_<region>_<id>_<secret and checksum>`.
fn secret_part(key: &str) -> &str {
    key.rsplit('_').next().expect("a key has parts")
}
