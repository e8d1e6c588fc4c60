//! Where a private registry of Amazon is: the host names of registries, and of the API in the same region.
//!
//! The names are those of docs.aws.amazon.com, "Amazon ECR endpoints and quotas".

/// The digits of the number of an account.
const ACCOUNT: usize = 12;

/// How hosts of registries and APIs are named in a partition of Amazon's cloud.
struct EcrNames {
    /// What stands between the account and the region, with `-fips` or without.
    registry: &'static str,
    /// The end of the registry's host.
    end: &'static str,
    /// What stands before the region in the host of the API.
    api: &'static str,
    /// The end of the API's host.
    api_end: &'static str,
}

const NAMES: [EcrNames; 6] = [
    EcrNames {
        registry: "dkr.ecr",
        end: "amazonaws.com",
        api: "api.ecr",
        api_end: "amazonaws.com",
    },
    EcrNames {
        registry: "dkr.ecr-fips",
        end: "amazonaws.com",
        api: "ecr-fips",
        api_end: "amazonaws.com",
    },
    EcrNames {
        registry: "dkr.ecr",
        end: "amazonaws.com.cn",
        api: "api.ecr",
        api_end: "amazonaws.com.cn",
    },
    EcrNames {
        registry: "dkr.ecr",
        end: "amazonaws.eu",
        api: "api.ecr",
        api_end: "amazonaws.eu",
    },
    // Reached by IPv4 and IPv6.
    EcrNames {
        registry: "dkr-ecr",
        end: "on.aws",
        api: "ecr",
        api_end: "api.aws",
    },
    EcrNames {
        registry: "dkr-ecr-fips",
        end: "on.aws",
        api: "ecr-fips",
        api_end: "api.aws",
    },
];

/// A private registry of Amazon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcrPlace {
    /// The number of the account. `None` if the name does not have it; then it is that of the keys.
    pub(crate) account: Option<String>,
    /// The region, such as `eu-west-1`.
    pub(crate) region: String,
    /// The address of the API.
    pub(crate) api: String,
}

impl EcrPlace {
    /// The registry at `domain`, such as `123456789012.dkr.ecr.eu-west-1.amazonaws.com`. `None` if this is not the name of a
    /// private registry of Amazon.
    pub(crate) fn of(domain: &str) -> Option<Self> {
        let (account, rest) = domain.split_once('.')?;
        if account.len() != ACCOUNT || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        NAMES.iter().find_map(|names| {
            let rest = rest.strip_prefix(names.registry)?.strip_prefix('.')?;
            let region = rest.strip_suffix(names.end)?.strip_suffix('.')?;
            is_region(region).then(|| Self {
                account: Some(account.to_owned()),
                region: region.to_owned(),
                api: format!("https://{}.{region}.{}", names.api, names.api_end),
            })
        })
    }

    /// A registry of another name in `region`, such as a proxy of one. `None` if this is not the name of a region.
    pub(crate) fn in_region(region: &str) -> Option<Self> {
        is_region(region).then(|| Self {
            account: None,
            region: region.to_owned(),
            api: format!("https://api.ecr.{region}.amazonaws.com"),
        })
    }
}

fn is_region(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(("eu-west-1", "https://api.ecr.eu-west-1.amazonaws.com")); "usual")]
    #[test_case("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some(("us-gov-west-1", "https://ecr-fips.us-gov-west-1.amazonaws.com")); "fips")]
    #[test_case("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(("cn-north-1", "https://api.ecr.cn-north-1.amazonaws.com.cn")); "china")]
    #[test_case("123456789012.dkr-ecr.us-east-1.on.aws", Some(("us-east-1", "https://ecr.us-east-1.api.aws")); "dual stack")]
    #[test_case("123456789012.dkr-ecr-fips.us-east-1.on.aws", Some(("us-east-1", "https://ecr-fips.us-east-1.api.aws")); "dual stack with fips")]
    #[test_case("12345678901.dkr.ecr.eu-west-1.amazonaws.com", None; "a short account")]
    #[test_case("12345678901a.dkr.ecr.eu-west-1.amazonaws.com", None; "not an account")]
    #[test_case("123456789012.dkr.ecr.amazonaws.com", None; "no region")]
    #[test_case("123456789012.dkr.ecr.a.b.amazonaws.com", None; "two labels for the region")]
    #[test_case("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example", None; "another domain")]
    #[test_case("123456789012.dkr.ecr.eu-west-1.notamazonaws.com", None; "another domain with the same end")]
    #[test_case("public.ecr.aws", None; "the public registry")]
    fn registries_and_their_apis_are_known_by_their_names(
        domain: &str,
        expected: Option<(&str, &str)>,
    ) {
        let found = EcrPlace::of(domain);
        let account = Some("123456789012".to_owned());
        let expected = expected.map(|(region, api)| EcrPlace {
            account,
            region: region.to_owned(),
            api: api.to_owned(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_region_is_not_a_part_of_another_host() {
        assert!(EcrPlace::in_region("eu-west-1").is_some());
        for wrong in ["", "eu/west", "evil.example/", "eu west", "EU", "eu@x"] {
            assert_eq!(EcrPlace::in_region(wrong), None, "{wrong}");
        }
    }
}
