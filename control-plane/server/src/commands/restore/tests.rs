use std::path::Path;

use bailiwick_core::backup::writing::Source;

use super::*;
use crate::{
    commands::{verify_store, verify_store::tests::region},
    region::Region,
};

/// Makes a backup as the command `bailiwick region backup` writes it.
async fn back_up(settings: &Settings, folder: &Path) {
    let region = Region::open(settings).await.expect("opened");
    let ground = &region.ground;
    let source = Source {
        store: ground.store.as_ref(),
        vault: ground.vault.as_ref(),
        home: &settings.region.jurisdiction,
        actor: "operator/alice",
        build: "test",
        now: ground.clock.now(),
    };
    let mut writer = source.begin(std::time::Duration::from_secs(3600)).await.expect("begun");
    let (mut data, mut keys) = (Vec::new(), Vec::new());
    while let Some(piece) = writer.next().await.expect("read") {
        match piece.part {
            Part::Data => data.extend(piece.bytes),
            Part::Keys => keys.extend(piece.bytes),
        }
    }
    // It reads on a connection of its own, which the store waits for when it closes.
    drop(writer);
    std::fs::write(folder.join(DATA), data).expect("written");
    std::fs::write(folder.join(KEYS), keys).expect("written");
    ground.sql.close().await;
}

fn arguments(from: &Path, replace: bool) -> RestoreArguments {
    RestoreArguments {
        from: from.to_owned(),
        keys: None,
        replace,
        accept_expired_keys: false,
        output: Format::Json,
    }
}

#[tokio::test]
async fn a_lost_store_comes_back_from_its_backup_and_its_master_key() {
    let (folder, settings) = region("eu-central-1").await;
    back_up(&settings, folder.path()).await;
    let refused = restore(&settings, &arguments(folder.path(), false)).await.expect_err("a region is there");
    assert!(format!("{refused:#}").contains("the region that is in the store already"), "{refused:#}");
    for file in ["region.db", "region.db-wal", "region.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let report = restore(&settings, &arguments(folder.path(), false)).await.expect("restored");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert!(report["backup"].as_str().is_some_and(|id| id.starts_with("bkp_euc1_")), "{report}");
    let (text, holds) = verify_store(&settings, None, Format::Text).await.expect("verified");
    assert!(holds, "{text}");
    let region = Region::open(&settings).await.expect("the same authority and pepper");
    assert_eq!(region.ground.store.cluster_identity().await.expect("read").epoch, report["epoch"]);
}

#[tokio::test]
async fn r5_the_backup_of_another_region_is_refused_by_name() {
    let ((theirs, their_settings), (ours, settings)) =
        (region("us-west-1").await, region("eu-central-1").await);
    back_up(&their_settings, theirs.path()).await;
    // Even with the same master key, which no operator should have in two regions.
    std::fs::copy(theirs.path().join("master.key"), ours.path().join("master.key")).expect("copied");
    let refused = restore(&settings, &arguments(theirs.path(), true)).await.expect_err("foreign");
    let refused = format!("{refused:#}");
    assert!(refused.contains("are a backup of us-west-1.test; this is eu-central-1.test"), "{refused}");
}

#[tokio::test]
async fn nothing_is_restored_under_a_control_plane_that_runs() {
    let (folder, mut settings) = region("eu-central-1").await;
    let served = TcpListener::bind("127.0.0.1:0").expect("bound");
    settings.admin = served.local_addr().expect("bound");
    let refused = restore(&settings, &arguments(folder.path(), true)).await.expect_err("served");
    assert!(refused.to_string().contains("stop the region's control plane first"), "{refused}");
}
