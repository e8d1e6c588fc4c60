//! The manifests that refer to an image: what is copied, and how it is found at the target.

use serde_json::{Value, json};
use test_case::test_case;

use super::{
    LISTS, OCI_INDEX, OCI_MANIFEST, TestCopy, add, descriptor, fallback, image, index, referrer,
};
use crate::registry::tests::model::{Abilities, KeptRepository};
use crate::types::Digest;

#[test_case(Abilities::ALL, Abilities::ALL, 2; "tags to tags")]
#[test_case(Abilities::ALL, LISTS, 0; "tags to lists")]
#[test_case(LISTS, Abilities::ALL, 2; "lists to tags")]
#[test_case(LISTS, LISTS, 0; "lists to lists")]
#[tokio::test]
async fn referrers_of_the_image_and_of_its_parts_can_be_found_at_the_target(
    from: Abilities,
    to: Abilities,
    tags: u64,
) {
    let copy = TestCopy::between(from, to).await;
    let (one, all, sbom, signature) = copy.source(|kept| {
        let one = image(kept, "one", &["base"]);
        let all = index(kept, &[&one]);
        let sbom = referrer(kept, "sbom", &["packages"], Some(&one));
        // A signature of the SBOM, and not of the image.
        let signature = referrer(kept, "signature", &["signed"], Some(&sbom));
        if !from.lists_referrers {
            for (subject, referrer) in [(&one, &sbom), (&sbom, &signature)] {
                let list = index(kept, &[referrer]);
                kept.tags.insert(fallback(subject, ""), list);
            }
        }
        (one, all, sbom, signature)
    });
    let counts = copy.copy(&all).await.unwrap();
    assert_eq!((counts.referrers, counts.tags), (2, tags));
    let expected = [one.clone(), all.clone(), sbom.clone(), signature.clone()];
    assert_eq!(copy.written()[..4], expected);
    let (_, to) = copy.repositories();
    for (subject, referrer) in [(&one, &sbom), (&sbom, &signature)] {
        let found = to.referrers(&subject.parse().unwrap()).await.unwrap();
        assert_eq!(found[0].digest.as_str(), referrer);
        let kept = copy.source.kept("a");
        assert_eq!(found[0].size, kept.manifests[referrer].1.len() as u64);
    }
    assert!(
        to.referrers(&all.parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn referrers_without_a_subject_are_tagged_even_if_the_target_has_lists() {
    let copy = TestCopy::between(Abilities::ALL, LISTS).await;
    let (one, list) = copy.source(|kept| {
        let one = image(kept, "one", &[]);
        let signature = image(kept, "signature", &["signed"]);
        let list = index(kept, &[&signature]);
        kept.tags.insert(fallback(&one, ""), list.clone());
        (one, list)
    });
    assert_eq!(copy.copy(&one).await.unwrap().tags, 1);
    assert_eq!(copy.target.kept("b").tags[&fallback(&one, "")], list);
}

#[tokio::test]
async fn the_referrers_of_both_are_merged() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let (one, new) = copy.source(|kept| {
        let one = image(kept, "one", &["base"]);
        let known = referrer(kept, "known", &[], Some(&one));
        let new = referrer(kept, "new", &[], Some(&one));
        let list = index(kept, &[&known, &new]);
        kept.tags.insert(fallback(&one, ""), list);
        (one, new)
    });
    let (known, own) = copy.target(|kept| {
        let one = image(kept, "one", &["base"]);
        let known = referrer(kept, "known", &[], Some(&one));
        let own = referrer(kept, "own", &[], Some(&one));
        let children: Vec<_> = [&own, &known].map(|child| descriptor(kept, child)).into();
        let list =
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children, "y": 1.50});
        let list = add(kept, OCI_INDEX, &list);
        kept.tags.insert(fallback(&one, ""), list);
        (known, own)
    });
    let counts = copy.copy(&one).await.unwrap();
    assert_eq!((counts.manifests, counts.tags), (1, 1));
    let kept = copy.target.kept("b");
    let list: Value =
        serde_json::from_slice(&kept.manifests[&kept.tags[&fallback(&one, "")]].1).unwrap();
    let digests = list["manifests"].as_array().unwrap().iter();
    let digests: Vec<_> = digests.map(|d| d["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [&own, &known, &new]);
    assert_eq!(list["y"], json!(1.5), "other fields are kept");
}

#[tokio::test]
async fn a_listed_referrer_that_does_not_exist_is_left_out() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let (one, there) = copy.source(|kept| {
        let one = image(kept, "one", &[]);
        let there = referrer(kept, "there", &[], Some(&one));
        let deleted = Digest::sha256(b"deleted").to_string();
        let list = index(kept, &[&deleted, &there]);
        kept.tags.insert(fallback(&one, ""), list);
        (one, there)
    });
    let counts = copy.copy(&one).await.unwrap();
    assert_eq!((counts.manifests, counts.referrers, counts.tags), (2, 1, 1));
    let (_, to) = copy.repositories();
    let found = to.referrers(&one.parse().unwrap()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest.as_str(), there);
}

/// Gives the image at one registry the signatures `layers` of cosign.
fn sign(kept: &mut KeptRepository, one: &str, suffix: &str, layers: &[&str]) -> String {
    let signature = image(kept, &format!("{suffix}{layers:?}"), layers);
    kept.tags.insert(fallback(one, suffix), signature.clone());
    signature
}

#[test_case(&[], true, false; "none at the target")]
#[test_case(&["s1"], true, false; "fewer at the target")]
#[test_case(&["s1", "s2", "s3"], false, false; "more at the target")]
#[test_case(&["s1", "other"], false, true; "others at the target")]
#[tokio::test]
async fn signatures_of_cosign_are_copied_unless_others_would_be_lost(
    at_target: &[&str],
    is_set: bool,
    is_conflict: bool,
) {
    let copy = TestCopy::between(LISTS, LISTS).await;
    let (one, all, signature) = copy.source(|kept| {
        let one = image(kept, "one", &["base"]);
        let all = index(kept, &[&one]);
        let signature = sign(kept, &one, ".sig", &["s1", "s2"]);
        sign(kept, &all, ".att", &["attested"]);
        sign(kept, &all, ".sbom", &["packages"]);
        // This tag is of something else.
        sign(kept, &all, ".other", &["other"]);
        (one, all, signature)
    });
    let before =
        copy.target(|kept| (!at_target.is_empty()).then(|| sign(kept, &one, ".sig", at_target)));
    let counts = copy.copy(&all).await.unwrap();
    assert_eq!(counts.tags, 2 + u64::from(is_set));
    let tag = fallback(&one, ".sig");
    let expected = if is_set { Some(signature) } else { before };
    let tags = copy.target.kept("b").tags;
    assert_eq!(tags.get(&tag), expected.as_ref());
    assert!(tags.contains_key(&fallback(&all, ".att")));
    assert!(tags.contains_key(&fallback(&all, ".sbom")));
    assert!(!tags.contains_key(&fallback(&all, ".other")));
    let conflicts: Vec<_> = counts.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(conflicts.contains(&tag), is_conflict);
}

#[tokio::test]
async fn signatures_by_another_key_are_not_lost_although_they_sign_the_same() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let signed_by = |kept: &mut KeptRepository, one: &str, key: &str| {
        let signature = image(kept, "signature", &["signed"]);
        let (_, bytes) = &kept.manifests[&signature];
        let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
        manifest["layers"][0]["annotations"] = json!({"dev.cosignproject.cosign/signature": key});
        let signature = add(kept, OCI_MANIFEST, &manifest);
        kept.tags.insert(fallback(one, ".sig"), signature);
    };
    let one = copy.source(|kept| {
        let one = image(kept, "one", &[]);
        signed_by(kept, &one, "development");
        one
    });
    copy.target(|kept| signed_by(kept, &one, "production"));
    let before = copy.target.kept("b").tags;
    let counts = copy.copy(&one).await.unwrap();
    assert_eq!(copy.target.kept("b").tags, before);
    let conflicts: Vec<_> = counts.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(conflicts, [fallback(&one, ".sig")]);
}
