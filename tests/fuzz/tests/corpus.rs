//! Every seed, and everything that was ever found, through its law: no engine is needed for that.

use std::{fs, path::Path};

use bailiwick_fuzz::laws;

#[test]
fn every_seed_and_every_finding_keeps_its_law() {
    for (name, law) in laws::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let seed = fs::read(entry.expect("entry").path()).expect("seed");
            law(&seed);
            // Cut short in every place, as connections are.
            (0..seed.len().min(2048)).for_each(|length| law(&seed[..length]));
            seeds += 1;
        }
        assert!(seeds >= 3, "{name} has {seeds} seeds");
    }
}
