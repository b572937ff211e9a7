use proptest::prelude::*;
use sqlx::SqlStr;

use super::*;

proptest! {
    #[test]
    fn chunks_keep_every_row_in_order_and_are_powers_of_two(count in 0_usize..3000) {
        let rows: Vec<usize> = (0..count).collect();
        let joined: Vec<usize> = chunks(&rows).flatten().copied().collect();
        prop_assert_eq!(joined, rows.clone());
        for chunk in chunks(&rows) {
            prop_assert!(chunk.len().is_power_of_two() && chunk.len() <= LARGEST);
        }
    }
}

#[test]
fn placeholders_are_spelled_as_the_backend_wants_them() {
    let text = |backend| SqlStr::as_str(&statement(backend, "VALUES ", 2, 2, " END")).to_owned();
    assert_eq!(text(Backend::Postgres), "VALUES ($1,$2), ($3,$4) END");
    assert_eq!(text(Backend::Sqlite), "VALUES (?,?), (?,?) END");
}
