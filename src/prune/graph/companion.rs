//! Tags that belong to a manifest instead of naming an image.
//!
//! Registries without the referrers API have the referrers of a manifest in an index with the tag `sha256-…`; cosign
//! keeps signatures, attestations and lists of contents under `sha256-….sig`, `.att` and `.sbom`.

use crate::types::ImageTag;

/// The digits of a digest in a tag: the specification cuts longer ones (OCI distribution, "Referrers Tag Schema").
const DIGITS: usize = 64;

/// Returns the digest to which `tag` belongs, or how it begins: an algorithm, a colon and 64 digits. That is a whole
/// digest for SHA-256. `None` if the tag is not a companion.
///
/// Every suffix after a dot counts, because other programs may use more of them.
pub(super) fn owner_of(tag: &ImageTag) -> Option<String> {
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    let (digits, suffix) = rest.split_at_checked(DIGITS)?;
    let is_digest = matches!(algorithm, "sha256" | "sha384" | "sha512")
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_companion = is_digest && (suffix.is_empty() || suffix.starts_with('.'));
    is_companion.then(|| format!("{algorithm}:{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("sha256-{}", Some("sha256:{}"); "referrers")]
    #[test_case("sha256-{}.sig", Some("sha256:{}"); "signature")]
    #[test_case("sha256-{}.sbom", Some("sha256:{}"); "list of contents")]
    #[test_case("sha512-{}", Some("sha512:{}"); "cut digits")]
    #[test_case("sha256-{}-amd64", None; "another tag that has a digest")]
    #[test_case("sha256-{}0", None; "too many digits")]
    #[test_case("sha256-abc", None; "too few digits")]
    #[test_case("md5-{}", None; "another algorithm")]
    #[test_case("v1.2-rc", None; "a version")]
    fn companions_are_recognized_by_their_form(tag: &str, expected: Option<&str>) {
        let fill = |text: &str| text.replace("{}", &"ab".repeat(32));
        let tag = fill(tag).parse().unwrap();
        assert_eq!(owner_of(&tag), expected.map(fill));
    }
}
