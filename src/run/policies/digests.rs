//! Digests of downloads, which the daemon tells one at a time.

use crate::types::build_source::{BuildSource, SourceFacts, SuffixedDigest};

/// How many digests are kept for a target. A daemon asks ten times at most about a source.
const MOST: usize = 64;
/// The longest suffix that is kept, in bytes. What a signature of OpenPGP hashes behind the data is shorter.
const LONGEST: usize = 66 << 10;

/// The digests of downloads that are known in a target.
///
/// An answer of the daemon has one digest, and it forgets what it has answered before. Without the others, policies that look at two
/// signatures of a download would ask for one and the other by turns.
#[derive(Debug, Default)]
pub(super) struct KnownDigests(Vec<KnownDigest>);

#[derive(Debug)]
struct KnownDigest {
    source: BuildSource,
    /// The checksum of the file that was digested.
    checksum: String,
    digest: SuffixedDigest,
}

impl KnownDigests {
    /// Keeps the digests of `facts`, and adds those that are known of the same file of the same source.
    pub(super) fn share(&mut self, facts: &mut SourceFacts) {
        let (source, Some(http)) = (&facts.source, &mut facts.http) else {
            return;
        };
        let mut known = Vec::new();
        for known_digest in &self.0 {
            if known_digest.source == *source && known_digest.checksum == http.checksum {
                known.push(known_digest.digest.clone());
            }
        }
        for digest in &http.suffixed {
            let is_kept = self.0.len() < MOST && digest.suffix.len() <= LONGEST;
            if is_kept && !known.contains(digest) {
                self.0.push(KnownDigest {
                    source: source.clone(),
                    checksum: http.checksum.clone(),
                    digest: digest.clone(),
                });
            }
        }
        known.retain(|digest| !http.suffixed.contains(digest));
        http.suffixed.extend(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Digest;
    use crate::types::build_source::SourceDownload;

    fn facts(url: &str, checksum: &str, suffixes: &[&'static str]) -> SourceFacts {
        let suffixed = suffixes.iter().map(|suffix| SuffixedDigest {
            suffix: suffix.as_bytes().into(),
            digest: Digest::sha256(suffix.as_bytes()),
        });
        SourceFacts {
            source: BuildSource {
                identifier: url.to_owned(),
                ..BuildSource::default()
            },
            http: Some(SourceDownload {
                checksum: checksum.to_owned(),
                suffixed: suffixed.collect(),
            }),
            ..SourceFacts::default()
        }
    }

    fn shared(known: &mut KnownDigests, mut facts: SourceFacts) -> Vec<String> {
        known.share(&mut facts);
        let suffixed = facts.http.unwrap().suffixed;
        let suffixes = suffixed
            .iter()
            .map(|digest| String::from_utf8_lossy(&digest.suffix).into_owned());
        suffixes.collect()
    }

    #[test]
    fn digests_of_the_same_file_are_kept() {
        let mut known = KnownDigests::default();
        assert_eq!(shared(&mut known, facts("a", "1", &["x"])), ["x"]);
        assert_eq!(shared(&mut known, facts("a", "1", &["y"])), ["y", "x"]);
        assert_eq!(shared(&mut known, facts("a", "1", &[])), ["x", "y"]);
        assert_eq!(shared(&mut known, facts("a", "1", &["x"])), ["x", "y"]);
        // The file has changed, or is another one.
        assert_eq!(shared(&mut known, facts("a", "2", &["z"])), ["z"]);
        assert_eq!(shared(&mut known, facts("b", "1", &[])), [""; 0]);
        let mut unknown = SourceFacts::default();
        known.share(&mut unknown);
        assert_eq!(unknown, SourceFacts::default());
    }

    #[test]
    fn the_memory_is_limited() {
        let mut known = KnownDigests::default();
        for number in 0..2 * MOST {
            let checksum = number.to_string();
            shared(&mut known, facts("a", &checksum, &["x"]));
        }
        assert_eq!(known.0.len(), MOST);
        let long = "x".repeat(LONGEST + 1).leak();
        let mut known = KnownDigests::default();
        assert_eq!(shared(&mut known, facts("a", "1", &[long])).len(), 1);
        assert_eq!(shared(&mut known, facts("a", "1", &[])).len(), 0);
    }
}
