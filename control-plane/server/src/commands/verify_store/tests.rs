use std::path::Path;

use bailiwick_runtime::configuration::load;

use super::*;
use crate::{commands, settings::ENVIRONMENT};

fn settings(region: &str, folder: &Path) -> Settings {
    let path = folder.display();
    let text = format!(
        r#"
        region = {{ name = "{region}", installation = "test" }}
        store = {{ url = "sqlite://{path}/region.db" }}
        master_key = {{ file = "{path}/master.key" }}
        admin = {{ listen = "127.0.0.1:0" }}
        workers = {{ listen = "127.0.0.1:0" }}
        enrollment = {{ listen = "127.0.0.1:0" }}
        identity = {{ dir = "{path}/identity" }}
        ops = {{ listen = "127.0.0.1:0" }}
        "#
    );
    let file = folder.join("control-plane.toml");
    std::fs::write(&file, text).expect("written");
    load(Some(&file), ENVIRONMENT).expect("good")
}

pub(crate) async fn region(name: &str) -> (tempfile::TempDir, Settings) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(name, folder.path());
    commands::init(&settings, true).await.expect("initialized");
    (folder, settings)
}

#[tokio::test]
async fn a_new_region_holds_and_both_formats_say_so() {
    let (_folder, settings) = region("eu-central-1").await;
    let (text, holds) = verify_store(&settings, None, Format::Text).await.expect("verified");
    assert!(holds && text.ends_with("Everything holds."), "{text}");
    let (json, holds) = verify_store(&settings, None, Format::Json).await.expect("verified");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(holds);
    assert_eq!(
        (&json["holds"], &json["region"], &json["problems"]),
        (&true.into(), &"eu-central-1".into(), &serde_json::json!([]))
    );
    assert_eq!((json["sealed_opened"].as_u64(), json["chains"].as_u64()), (Some(5), Some(1)));
}

#[tokio::test]
async fn r2_the_store_of_another_region_is_refused_by_name_and_untouched() {
    let (_ours, settings) = region("eu-central-1").await;
    let (theirs, _) = region("us-west-1").await;
    let file = theirs.path().join("region.db");
    let before = std::fs::read(&file).expect("read");
    let url = SecretString::from(format!("sqlite://{}", file.display()));
    let refused = verify_store(&settings, Some(url), Format::Text).await.expect_err("foreign");
    assert!(
        format!("{refused:#}").contains("belongs to us-west-1.test, not to eu-central-1.test"),
        "{refused:#}"
    );
    assert_eq!(std::fs::read(&file).expect("read"), before);
}

#[tokio::test]
async fn r4_another_master_key_opens_nothing() {
    let (folder, settings) = region("eu-central-1").await;
    std::fs::write(folder.path().join("master.key"), "ab".repeat(32)).expect("written");
    let (text, holds) = verify_store(&settings, None, Format::Text).await.expect("verified");
    assert!(!holds && text.contains("region_secrets ca_key: sealed does not open"), "{text}");
    assert!(text.contains("data_keys region/1: the data key does not unwrap"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let (folder, settings) = region("eu-central-1").await;
    let missing = folder.path().join("missing.db");
    let url = SecretString::from(format!("sqlite://{}", missing.display()));
    assert!(verify_store(&settings, Some(url), Format::Text).await.is_err());
    assert!(!missing.exists());
}
