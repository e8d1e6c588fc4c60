//! Signatures of requests to Amazon's services, version 4 (docs.aws.amazon.com, "Create a signed AWS API request").
//!
//! Signs what the APIs with JSON need: a `POST` without a query.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::credential::AwsCredential;
use crate::registry::error::RegistryFault;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The header with the time of the signature.
pub(super) const DATE: &str = "x-amz-date";

/// What a signature is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigningScope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// A `POST` that is to be signed.
pub(super) struct UnsignedPost<'a> {
    /// The path of its address, as it is sent.
    pub(super) path: &'a str,
    /// All headers that are signed, with `host` and [`DATE`]; names in lower case.
    pub(super) headers: &'a BTreeMap<&'a str, String>,
    pub(super) body: &'a [u8],
}

/// The time in the form of [`DATE`], such as `20150830T123600Z`.
pub(super) fn date(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of the header `Authorization` for `request`, which is signed at `date`.
pub(super) fn authorization(
    request: &UnsignedPost<'_>,
    credential: &AwsCredential,
    scope: SigningScope<'_>,
    date: &str,
) -> Result<String, RegistryFault> {
    let SigningScope { region, service } = scope;
    let day = date.get(..8).unwrap_or(date);
    let names: Vec<&str> = request.headers.keys().copied().collect();
    let names = names.join(";");
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let hash = hex::encode(Sha256::digest(canonical(request, &names)));
    let text = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
    let first = format!("AWS4{}", credential.secret_key().expose());
    let mut key = first.into_bytes();
    for part in [day, region, service, "aws4_request"] {
        key = mac(&key, part)?;
    }
    let signature = hex::encode(mac(&key, &text)?);
    let id = credential.access_key().expose();
    Ok(format!(
        "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    ))
}

/// The request in the form that is hashed.
fn canonical(request: &UnsignedPost<'_>, names: &str) -> String {
    // Except for Amazon's storage, a path is encoded twice.
    let mut text = format!("POST\n{}\n\n", request.path.replace('%', "%25"));
    for (name, value) in request.headers {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        text.extend([*name, ":", &words.join(" "), "\n"]);
    }
    let hash = hex::encode(Sha256::digest(request.body));
    text.extend(["\n", names, "\n", &hash]);
    text
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>, RegistryFault> {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.map_err(|_| RegistryFault::malformed("a key of no use"))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    const DATE_OF_SUITE: &str = "20150830T123600Z";

    /// The signature of a request of Amazon's test suite for version 4 (`aws-sig-v4-test-suite`), which is for
    /// `us-east-1/service`.
    fn signature(headers: &[(&'static str, &str)], body: &str) -> String {
        let mut all = BTreeMap::from([
            ("host", "example.amazonaws.com".to_owned()),
            (DATE, DATE_OF_SUITE.to_owned()),
        ]);
        all.extend(
            headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let credential = AwsCredential::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
        );
        let request = UnsignedPost {
            path: "/",
            headers: &all,
            body: body.as_bytes(),
        };
        let scope = SigningScope {
            region: "us-east-1",
            service: "service",
        };
        let text = authorization(&request, &credential, scope, DATE_OF_SUITE).unwrap();
        let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert!(text.starts_with(start), "{text}");
        text.split_once("Signature=").unwrap().1.to_owned()
    }

    #[test_case(&[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"; "post-vanilla")]
    #[test_case(&[("my-header1", "value1")], "", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"; "post-header-key-sort")]
    #[test_case(&[("my-header1", "VALUE1")], "", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"; "post-header-value-case")]
    #[test_case(&[("content-type", "application/x-www-form-urlencoded")], "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"; "post-x-www-form-urlencoded")]
    #[test_case(&[("x-amz-security-token", "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==")], "", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"; "post-sts-header-before")]
    fn signatures_are_those_of_amazons_test_suite(
        headers: &[(&'static str, &str)],
        body: &str,
        expected: &str,
    ) {
        assert_eq!(signature(headers, body), expected);
    }

    #[test]
    fn spaces_in_headers_do_not_count() {
        let plain = signature(&[("my-header1", "a b c")], "");
        assert_eq!(signature(&[("my-header1", "  a   b \t c ")], ""), plain);
        assert_ne!(signature(&[("my-header1", "a bc")], ""), plain);
    }

    #[test]
    fn the_date_is_that_of_utc() {
        let time = "2015-08-30T14:36:00.7+02:00".parse().unwrap();
        assert_eq!(date(time), DATE_OF_SUITE);
    }
}
