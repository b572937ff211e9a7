use super::*;

fn record() -> Record {
    Record::default()
        .text("id", "org_1")
        .text("contact_email", "")
        .with("cost_usd", Value::Money(1_500_000_000))
        .time("created", 1_795_420_800_000_000)
        .time("revoked", 0)
        .with("models", Value::List(vec!["a".into(), "b".into()]))
        .with("price", Value::Maybe(None))
}

#[test]
fn a_list_is_a_table_with_a_line_for_each_record() {
    insta::assert_snapshot!(table(&[record()]), @r"
    ID     CONTACT EMAIL  COST USD      CREATED               REVOKED  MODELS  PRICE
    org_1  -              $1.500000000  2026-11-23T08:00:00Z  -        a, b    -
    ");
}

#[test]
fn programs_get_the_same_values_with_their_types_and_order() {
    insta::assert_snapshot!(
        serde_json::to_string(&record()).unwrap(),
        @r#"{"id":"org_1","contact_email":"","cost_usd":"1.500000000","created":"2026-11-23T08:00:00Z","revoked":null,"models":["a","b"],"price":null}"#
    );
}

#[test]
fn a_servers_text_cannot_steer_the_terminal() {
    let hostile = Record::default().text("name", "\u{1b}[2Jevil\r\u{9b}31m\nsecond line");
    let table = table(&[hostile]);
    assert!(!table.contains(['\u{1b}', '\r', '\u{9b}']), "{table:?}");
    assert_eq!(table.lines().count(), 2, "one thing, one line");
}
