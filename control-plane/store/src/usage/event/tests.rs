use super::*;

#[test]
fn an_insertion_cuts_as_many_rows_as_there_are_places() {
    let width = 35 + EVENT_ID + record::BYTES;
    let sql = insertion(Backend::Sqlite, width, 2, "");
    assert!(sql.contains(
        "CAST(substr($1, column1, 35) AS TEXT), substr($1, column1 + 35, 16), substr($1, column1 + 51, 168)"
    ));
    assert!(sql.contains("(VALUES (1),(220)) AS places"), "{sql}");
    assert!(
        insertion(Backend::Postgres, width, 1, "").contains("convert_from(substr($1, column1, 35), 'UTF8')")
    );
}
