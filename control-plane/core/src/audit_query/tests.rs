use bailiwick_domain::time::Timestamp;

use super::*;
use crate::{
    ports::vault::Sealed,
    records::{AuditDraft, Revision},
};

fn chain(length: u64) -> Vec<AuditRecord> {
    let mut previous = GENESIS;
    (1..=length)
        .map(|sequence| {
            let revision = (sequence % 2 == 0).then_some(Revision(sequence));
            let draft = AuditDraft {
                chain: Chain::Region,
                at: Timestamp::from_micros(1),
                actor: Sealed(vec![7; 40]),
                action: "key.revoke",
                subject: format!("key_euc1_{sequence:016}"),
            };
            let hash = audit::leaf_hash(&previous, sequence, &draft, revision);
            previous = hash;
            let AuditDraft { chain, at, actor, action, subject } = draft;
            AuditRecord { chain, sequence, at, actor, action: action.to_owned(), subject, revision, hash }
        })
        .collect()
}

fn verify(records: &[AuditRecord]) -> Verification {
    let mut verification = Verification::start();
    records.iter().for_each(|record| verification.follow(record));
    verification
}

#[test]
fn r11_an_untouched_chain_is_intact() {
    let records = chain(5);
    let verified = verify(&records);
    assert_eq!((verified.records, verified.first_bad), (5, None));
    assert_eq!(Some(verified.head), records.last().map(|record| record.hash));
}

#[test]
fn r11_every_change_of_a_record_is_found_where_it_was_made() {
    let changes: [fn(&mut AuditRecord); 6] = [
        |record| record.action = "key.create".to_owned(),
        |record| record.subject.push('x'),
        |record| record.at = Timestamp::from_micros(2),
        |record| record.actor = Sealed(vec![8; 40]),
        |record| record.revision = Some(Revision(99)),
        |record| record.hash = [1; 32],
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut records = chain(5);
        change(records.get_mut(2).expect("the third"));
        assert_eq!(verify(&records).first_bad, Some(3), "change {index}");
    }
}

#[test]
fn r11_a_record_that_is_taken_out_or_put_elsewhere_is_found() {
    let mut without = chain(5);
    without.remove(2);
    assert_eq!(verify(&without).first_bad, Some(4));
    let mut swapped = chain(5);
    swapped.swap(1, 2);
    assert_eq!(verify(&swapped).first_bad, Some(3));
    let mut elsewhere = chain(5);
    elsewhere.splice(0..1, []);
    assert_eq!(verify(&elsewhere).first_bad, Some(2));
}
