//! Damaged keys and signatures. What is right and wrong is compared with buildx, by tests/parity/policies.json.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::armor::ArmorBlocks;
use super::*;
use crate::policy::input::GitObject;
use crate::types::Digest;
use crate::types::build_source::{DigestAlgorithm, DownloadQuestion};

const VECTORS: &str = include_str!("../../../tests/parity/policies.json");

/// How often the keys and signature of a case are damaged.
const DAMAGES: usize = 40;

/// A commit and the keys for it.
struct Case {
    name: String,
    keys: String,
    signature: String,
    signed: String,
}

fn cases() -> Vec<Case> {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["decisions"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let cases = cases.iter().filter_map(|case| {
        let name = text(&case["name"]);
        let known = &case["known"];
        name.strip_prefix("OpenPGP: ")?;
        let (commit, id) = (text(&known["commitObject"]), text(&known["commit"]));
        let object = GitObject::parse(commit.as_bytes(), &id).unwrap();
        Some(Case {
            name,
            keys: text(&case["files"]["keys.asc"]),
            signature: object.signature,
            signed: object.signed,
        })
    });
    cases.collect()
}

fn armored(kind: &str, content: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(content);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {kind}-----\n\n{lines}\n-----END {kind}-----\n")
}

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// Changes, repeats, inserts or removes a few bytes of `content`.
    fn damage(&mut self, content: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if content.is_empty() {
                return;
            }
            let at = self.below(content.len());
            let end = (at + self.below(40)).min(content.len());
            match self.below(6) {
                0 => content[at] = u8::try_from(self.below(256)).unwrap(),
                1 => content[at] ^= 1 << self.below(8),
                2 => content.truncate(at),
                3 => drop(content.drain(at..end)),
                4 => {
                    let part = content[at..end].to_vec();
                    content.splice(at..at, part);
                }
                _ => content[at] = [0, 0xff, 0x7f, 0x80][self.below(4)],
            }
        }
    }
}

#[test]
fn damaged_keys_and_signatures_verify_nothing_else() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for case in cases() {
        let keys: Vec<u8> = ArmorBlocks::of(&case.keys)
            .filter_map(|block| block.content)
            .flatten()
            .collect();
        let signature = ArmorBlocks::of(&case.signature).next();
        let signature = signature.and_then(|block| block.content);
        let other = format!("{}.", case.signed);
        for _ in 0..DAMAGES {
            let (mut keys, mut signature) = (keys.clone(), signature.clone().unwrap_or_default());
            numbers.damage(&mut keys);
            if numbers.below(2) == 0 {
                numbers.damage(&mut signature);
            }
            let keys = armored("PGP PUBLIC KEY BLOCK", &keys);
            let signature = armored("PGP SIGNATURE", &signature);
            let _ = PgpSignature::parse(&signature);
            // Any answer but a crash will do.
            let _ = verify(&signature, case.signed.as_bytes(), keys.as_bytes());
            let verified = verify(&signature, other.as_bytes(), keys.as_bytes());
            assert!(verified.is_err(), "{}: {signature}\n{keys}", case.name);
            if let Ok(signed) = SignedDownload::read(signature.as_bytes(), keys.as_bytes()) {
                let digest = digest_of(&other, &signed.question());
                let verified = signed.verify(&digest);
                assert!(verified.is_err(), "{}: {signature}\n{keys}", case.name);
            }
        }
        for cut in (0..case.keys.len()).step_by(97) {
            let keys = case.keys.get(..cut).unwrap_or_default();
            let verified = verify(&case.signature, other.as_bytes(), keys.as_bytes());
            assert!(verified.is_err(), "{}: {cut}", case.name);
        }
    }
}

/// The digest of `content` for which `question` asks.
pub(in crate::policy) fn digest_of(content: &str, question: &DownloadQuestion) -> Digest {
    let content = [content.as_bytes(), &question.suffix].concat();
    let hex = match question.algorithm {
        DigestAlgorithm::Sha256 => hex::encode(Sha256::digest(content)),
        DigestAlgorithm::Sha384 => hex::encode(Sha384::digest(content)),
        DigestAlgorithm::Sha512 => hex::encode(Sha512::digest(content)),
    };
    format!("{}:{hex}", question.algorithm.name())
        .parse()
        .unwrap()
}

fn case(name: &str) -> Case {
    let mut cases = cases().into_iter();
    cases
        .find(|case| case.name.strip_prefix("OpenPGP: ") == Some(name))
        .unwrap()
}

#[test]
fn the_work_for_a_file_of_keys_is_limited() {
    let case = case("ed25519");
    let block = ArmorBlocks::of(&case.keys).next().unwrap();
    let content = block.content.unwrap();
    // As many as fit into the largest file that a policy may read.
    let many = content.repeat((90 << 10) / content.len());
    let keys = armored("PGP PUBLIC KEY BLOCK", &many);
    let verified = verify(&case.signature, case.signed.as_bytes(), keys.as_bytes());
    assert_eq!(verified, Err(NotVerified::Unsupported(TOO_MANY)));
    let read = SignedDownload::read(case.signature.as_bytes(), keys.as_bytes());
    assert_eq!(read.unwrap_err(), NotVerified::Unsupported(TOO_MANY));
    let few = armored("PGP PUBLIC KEY BLOCK", &content.repeat(20));
    let verified = verify(&case.signature, case.signed.as_bytes(), few.as_bytes());
    assert_eq!(verified, Ok(()));
}

#[test]
fn keys_that_rbake_cannot_check_are_not_wrong() {
    let case = case("brainpoolP256r1");
    let verified = verify(
        &case.signature,
        case.signed.as_bytes(),
        case.keys.as_bytes(),
    );
    assert_eq!(verified, Err(NotVerified::Unsupported(GAP)));
}
