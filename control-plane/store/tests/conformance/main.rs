//! What every backend of the store must do. Each test is written once and runs against SQLite in a temporary folder and, where
//! `BAILIWICK_TEST_POSTGRES_URL` names a server (`tests/scripts/postgres.sh start DIR` prints one), against a PostgreSQL
//! database of its own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "this crate is all test: what fails here fails the test that it is in"
)]

mod fixed_records;
mod fixture;
mod inhabited;
mod samples;

mod aggregates;
mod audit;
mod backup;
mod configuration;
mod destruction;
mod identity;
mod inspection;
mod laws;
mod limits;
mod mutations;
mod pages;
mod places;
mod prices;
mod quota;
mod rotations;
mod throughput;
mod tls;
mod trust;
mod unlocking;
mod upgrades;
mod usage;

macro_rules! conformance {
    ($($module:ident: $($(#[$attribute:meta])* $test:ident),+ $(,)?;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $test() {
                    let fixture = crate::fixture::Fixture::sqlite().await;
                    crate::$module::$test(&fixture).await;
                    fixture.finish().await;
                }
            )+)+
        }

        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $test() {
                    let Some(fixture) = crate::fixture::Fixture::postgres().await else { return };
                    crate::$module::$test(&fixture).await;
                    fixture.finish().await;
                }
            )+)+
        }
    };
}

conformance! {
    identity:
        r2_a_store_of_another_region_is_refused_untouched,
        r5_a_store_of_another_installation_is_refused,
        r2_a_row_of_another_region_cannot_be_written,
        r2_every_table_names_the_region,
        an_epoch_is_made_once_and_kept,
        two_processes_open_a_new_store_at_once;
    aggregates:
        organizations_come_back_as_they_went_in,
        keys_come_back_as_they_went_in,
        service_accounts_come_back_as_they_went_in,
        token_keys_are_listed_oldest_first_until_they_are_destroyed,
        credentials_are_replaced_and_kept_while_used,
        deployments_and_models_refer_only_within_their_organization,
        a_taken_model_name_is_a_conflict,
        data_keys_and_region_secrets_are_written_once,
        destroyed_data_keys_are_gone,
        workers_are_renewed_by_name_and_removed_for_good,
        expired_keys_are_listed_until_they_are_revoked,
        a_row_that_was_changed_from_outside_is_corrupt,
        r2_a_row_that_names_another_region_is_corrupt;
    trust:
        r12_a_revocation_is_only_ever_widened_and_forgotten_when_it_is_of_no_use,
        revocations_are_bounded,
        the_authority_changes_step_by_step_and_each_step_once;
    mutations:
        an_idempotency_key_is_used_once,
        concurrent_commits_give_gap_free_revisions,
        concurrent_commits_to_many_chains_do_not_wait_in_a_circle,
        of_two_who_change_an_organizations_models_the_second_sees_what_the_first_did,
        a_join_token_is_consumed_by_exactly_one_of_many,
        a_join_token_wants_its_digest_and_its_time;
    audit:
        r11_a_dropped_transaction_leaves_nothing,
        r11_every_commit_leaves_exactly_one_record,
        r11_a_tampered_record_is_found;
    configuration:
        a_delta_says_what_changed_and_what_is_gone,
        a_deleted_organization_takes_everything_along,
        a_suspended_organization_keeps_its_resources,
        a_log_that_does_not_reach_back_is_truncated,
        long_deltas_come_in_pages;
    backup:
        a_backup_is_restored_as_it_was_taken,
        what_was_spent_of_limits_comes_back,
        a_region_is_replaced_only_when_that_is_said,
        what_the_replaced_store_ended_stays_ended,
        r12_a_restore_brings_back_no_service_account_that_was_revoked_and_no_secret_that_was_replaced,
        r4_a_deleted_organization_comes_back_from_no_data_with_later_keys,
        r4_keys_of_another_backup_or_past_their_end_are_refused,
        r4_a_backup_opens_under_its_own_master_key_alone,
        r5_a_backup_of_another_region_or_installation_is_refused_by_name,
        r4_a_backup_that_was_tampered_with_is_refused_and_nothing_is_touched,
        r11_a_backup_under_writes_is_of_one_state;
    destruction:
        r4_a_deleted_organizations_rows_are_destroyed_and_certified,
        r10_usage_is_closed_before_its_events_are_destroyed,
        a_destruction_that_was_interrupted_goes_on,
        nothing_is_made_in_an_organization_that_is_deleted_meanwhile;
    inspection:
        a_store_that_nobody_tampered_with_holds,
        r4_a_sealed_value_that_was_moved_is_found,
        r4_a_data_key_that_was_moved_is_found,
        r11_a_record_that_was_changed_or_taken_away_is_found,
        r2_a_row_that_refers_to_nothing_is_found,
        r10_usage_that_was_taken_away_is_found,
        r10_usage_that_is_there_twice_is_found;
    limits:
        limits_come_back_as_they_went_in,
        a_limits_number_is_never_given_twice,
        limits_are_bounded_and_no_two_say_the_same_also_at_the_same_time,
        workers_are_told_of_limits_with_their_organization_and_of_none_when_it_is_deleted;
    laws:
        a_delta_is_the_difference_of_two_snapshots;
    pages:
        every_list_pages_without_gaps_or_repeats,
        a_foreign_or_malformed_page_token_is_refused;
    prices:
        a_contracts_price_comes_with_the_deployments_of_its_model_and_no_others,
        contract_prices_are_listed_by_model_as_they_went_in;
    quota:
        what_was_lent_comes_back_as_it_was_written_last,
        whoever_lost_office_writes_nothing,
        of_limits_that_are_gone_nothing_is_kept,
        changed_limits_are_told_by_their_organization;
    rotations:
        r4_after_a_rotation_the_old_master_key_opens_nothing_and_the_new_one_everything,
        a_rotation_that_is_cut_off_goes_on_where_it_was,
        a_rotation_waits_for_its_own_master_key,
        r4_sealed_values_are_sealed_anew_and_audit_records_stay,
        the_regions_own_secrets_are_sealed_anew,
        what_changed_meanwhile_is_not_overwritten,
        a_rotation_of_an_organization_that_is_deleted_meanwhile_ends,
        a_second_rotation_of_the_same_is_the_first;
    unlocking:
        data_keys_are_unlocked_many_at_a_time_and_not_all_at_once;
    usage:
        r10_an_event_is_counted_once_however_often_it_is_sent,
        r10_a_batch_of_any_size_is_counted_whole,
        r10_events_that_come_again_in_other_batches_are_counted_once,
        r10_no_organizations_event_takes_the_place_of_anothers,
        r10_concurrent_duplicate_batches_count_once,
        r10_late_usage_counts_in_the_hour_of_its_start,
        r10_absurd_counts_stop_nobodys_usage,
        events_of_unknown_organizations_are_reported_and_those_of_deleted_ones_kept,
        roll_ups_are_summed_as_asked,
        events_come_back_as_they_went_in_newest_first,
        a_block_of_the_longest_records_is_stored;
    upgrades:
        events_of_a_store_that_kept_each_in_a_row_are_kept,
        events_of_a_store_whose_records_had_a_fixed_length_are_kept,
        records_that_are_none_of_their_form_are_refused;
    throughput:
        #[ignore = "measures; run it alone: cargo test -p bailiwick-store --test conformance throughput -- --ignored --nocapture"]
        usage_insert_throughput;
}

/// Conformance on one backend alone is none: where PostgreSQL is required, its absence fails.
#[test]
fn postgres_is_tested_where_it_is_required() {
    let required = fixture::setting("CI").as_deref() == Some("true")
        || fixture::setting("BAILIWICK_REQUIRE_POSTGRES").as_deref() == Some("1");
    assert!(
        !required
            || [fixture::POSTGRES_URL, tls::URL, tls::ROOT]
                .iter()
                .all(|name| fixture::setting(name).is_some()),
        "{} and {}, {} are not all set: start a server with tests/scripts/postgres.sh",
        fixture::POSTGRES_URL,
        tls::URL,
        tls::ROOT
    );
}
