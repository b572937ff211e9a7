//! Canaries: texts that are said, and must be found nowhere afterwards.

use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What is looked for: texts, in the clear and in base64 at any alignment.
pub struct Canaries {
    names: Vec<String>,
    /// In the same order.
    needles: AhoCorasick,
}

impl Canaries {
    /// Letters and digits only: they look the same in JSON, in URLs and in headers.
    pub fn new(texts: &[&str]) -> Self {
        let needles = texts.iter().flat_map(|text| {
            assert!(text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
            let encoded = (0..3).map(|lead| {
                let whole = STANDARD.encode(["x".repeat(lead).as_bytes(), text.as_bytes()].concat());
                // The first and the last group depend on what stands around them.
                let inner = &whole[4..whole.len() - 4];
                (format!("{text} in base64"), inner.as_bytes().to_vec())
            });
            let plain = ((*text).to_owned(), text.as_bytes().to_vec());
            std::iter::once(plain).chain(encoded).collect::<Vec<_>>()
        });
        let (names, needles): (Vec<_>, Vec<_>) = needles.unzip();
        Self { names, needles: AhoCorasick::new(needles).expect("a few words") }
    }

    /// Which of them stands in these bytes.
    pub fn found(&self, bytes: &[u8]) -> Option<&str> {
        self.needles.find(bytes).map(|found| self.names[found.pattern()].as_str())
    }

    /// How often they stand in these bytes, all together.
    pub fn count(&self, bytes: &[u8]) -> usize {
        self.needles.find_overlapping_iter(bytes).count()
    }

    /// Fails when one of them stands in these bytes.
    pub fn assert_absent(&self, place: &str, bytes: &[u8]) {
        if let Some(found) = self.found(bytes) {
            let line = bytes.split(|byte| *byte == b'\n').find(|line| self.found(line).is_some());
            let line = String::from_utf8_lossy(line.unwrap_or_default());
            let start: String = line.chars().take(1000).collect();
            panic!("{found} stands in {place}: {start}");
        }
    }

    /// Reads every byte of every file in a folder, and below; names of files too. Gives the files.
    pub fn assert_absent_below(&self, folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            self.assert_absent("a file's name", path.as_os_str().as_encoded_bytes());
            if path.is_dir() {
                files.extend(self.assert_absent_below(&path));
            } else {
                // What is no file (a socket) has no bytes; what was deleted meanwhile has none any more.
                self.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
                files.push(path);
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_however_it_is_wrapped() {
        let canaries = Canaries::new(&["canary7f3a91bc"]);
        assert!(canaries.found(b"nothing of it: canary7f3a91b").is_none());
        assert!(canaries.found(b"{\"a\":\"xcanary7f3a91bcx\"}").is_some());
        for lead in 0..6 {
            let text = format!("{}canary7f3a91bc and more", "y".repeat(lead));
            assert!(canaries.found(STANDARD.encode(text).as_bytes()).is_some(), "{lead}");
        }
    }

    #[test]
    fn each_place_of_a_canary_counts() {
        let canaries = Canaries::new(&["canary7f3a91bc", "canary01d2f3e4"]);
        let encoded = STANDARD.encode("canary01d2f3e4");
        let text = format!("canary7f3a91bc canary7f3a91bccanary01d2f3e4 {encoded} canary7f3a91b");
        assert_eq!(canaries.count(text.as_bytes()), 4);
    }
}
