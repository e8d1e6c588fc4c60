//! What the environment says of registries: of which kind they are, where their APIs are, and the keys for Amazon's.

use std::collections::BTreeMap;

use super::kinds::RegistryKind;
use super::{ApiAddress, ApiSpec, EcrPlace, EcrSpec, InvalidApiAddress, RegistrySecurity};
use crate::credential::{AwsCredential, AwsCredentialError};
use crate::types::Environment;
use crate::types::terminal::visible;

/// Registries of other domains than the usual ones: `HOST=KIND`, with commas between them.
const KINDS: &str = "RBAKE_REGISTRY_KINDS";
/// The registry of a GitHub Enterprise Server.
const GITHUB_REGISTRY: &str = "RBAKE_GITHUB_REGISTRY";
/// The address of GitHub's API, which workflows set.
const GITHUB_API: &str = "GITHUB_API_URL";
/// The address of Docker Hub's API, as Docker's `hub-tool` reads it.
const HUB_API: &str = "DOCKER_HUB_API_URL";
/// The address of Amazon's APIs, as all their clients read it; the one for this API takes precedence.
const AMAZON_APIS: [&str; 2] = ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"];
/// If this is true, Amazon's clients ignore both.
const AMAZON_IGNORED: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
/// The region, if the name of the registry does not have it.
const AMAZON_REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// What the environment says of registries.
#[derive(Debug)]
pub(crate) struct DeletionSettings<'a> {
    environment: &'a Environment,
    declared: BTreeMap<String, RegistryKind>,
}

/// A variable has a value that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeletionSettingError {
    /// An entry of `RBAKE_REGISTRY_KINDS` is not of the form `HOST=KIND`.
    #[error(
        "`{KINDS}` has the entry `{entry}`, which is not of the form `HOST=KIND` (the kinds are {})",
        RegistryKind::names()
    )]
    Kind {
        /// The entry.
        entry: String,
    },
    /// The region of a registry of Amazon is not known.
    #[error("the name of the registry `{domain}` has no region of Amazon; set `AWS_REGION`")]
    Region {
        /// The registry.
        domain: String,
    },
    /// The address of an API is not one.
    #[error("cannot use `{variable}`")]
    Address {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        #[source]
        source: InvalidApiAddress,
    },
}

/// The API by which a registry deletes, or why it cannot be used.
pub(crate) enum FoundApi {
    /// The registry has no other API.
    None,
    /// This one.
    Api(ApiSpec),
    /// It has one, but there are no keys for it.
    NoKeys(AwsCredentialError),
    /// It has one, which rbake does not know.
    Unknown,
}

impl<'a> DeletionSettings<'a> {
    /// Reads the variables.
    ///
    /// # Errors
    /// `RBAKE_REGISTRY_KINDS` is malformed. Addresses are read when they are needed.
    pub(crate) fn of(environment: &'a Environment) -> Result<Self, DeletionSettingError> {
        let mut declared = BTreeMap::new();
        if let Some(registry) = environment.non_empty(GITHUB_REGISTRY) {
            declared.insert(registry.trim().to_owned(), RegistryKind::Github);
        }
        let kinds = environment.non_empty(KINDS).unwrap_or_default();
        let entries = kinds.split(',').map(str::trim);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            let parsed = entry.split_once('=').and_then(|(host, kind)| {
                let kind = RegistryKind::named(kind.trim())?;
                let host = host.trim();
                (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), kind))
            });
            let (host, kind) = parsed.ok_or_else(|| DeletionSettingError::Kind {
                entry: visible(entry).into_owned(),
            })?;
            declared.insert(host, kind);
        }
        Ok(Self {
            environment,
            declared,
        })
    }

    /// The kind of the registry at `domain`. `None` if neither the environment nor the domain tells.
    pub(crate) fn kind_at(&self, domain: &str) -> Option<RegistryKind> {
        let declared = self.declared.get(domain).copied();
        declared.or_else(|| RegistryKind::at(domain))
    }

    /// The API by which the registry of this kind at `domain` deletes.
    pub(crate) async fn api_of(
        &self,
        kind: RegistryKind,
        domain: &str,
        security: RegistrySecurity,
    ) -> Result<FoundApi, DeletionSettingError> {
        Ok(match kind {
            RegistryKind::Github => {
                let address = self.address(GITHUB_API, "https://api.github.com", security)?;
                FoundApi::Api(ApiSpec::Github(address))
            }
            RegistryKind::DockerHub => {
                let address = self.address(HUB_API, "https://hub.docker.com", security)?;
                FoundApi::Api(ApiSpec::DockerHub(address))
            }
            RegistryKind::Ecr => self.amazon(domain, security).await?,
            RegistryKind::EcrPublic => FoundApi::Unknown,
            RegistryKind::Distribution | RegistryKind::Gitlab | RegistryKind::Google => {
                FoundApi::None
            }
        })
    }

    async fn amazon(
        &self,
        domain: &str,
        security: RegistrySecurity,
    ) -> Result<FoundApi, DeletionSettingError> {
        let named = |name: &&'static str| self.environment.non_empty(name).is_some();
        let region = AMAZON_REGIONS.iter().find(|name| named(name));
        let region = region.and_then(|name| self.environment.non_empty(name));
        let place = EcrPlace::of(domain)
            .or_else(|| EcrPlace::in_region(region?.trim()))
            .ok_or_else(|| DeletionSettingError::Region {
                domain: domain.to_owned(),
            })?;
        let is_ignored = self.environment.non_empty(AMAZON_IGNORED);
        let is_ignored = is_ignored.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let variable = AMAZON_APIS
            .into_iter()
            .find(|name| named(name) && !is_ignored);
        let address = match variable {
            Some(variable) => self.address(variable, &place.api, security)?,
            None => parsed(AMAZON_APIS[0], &place.api, security)?,
        };
        Ok(match AwsCredential::find(self.environment).await {
            Err(error) => FoundApi::NoKeys(error),
            Ok(credential) => FoundApi::Api(ApiSpec::Ecr(Box::new(EcrSpec {
                address,
                account: place.account,
                region: place.region,
                credential,
            }))),
        })
    }

    /// The address that `variable` has, or else `default`.
    fn address(
        &self,
        variable: &'static str,
        default: &str,
        security: RegistrySecurity,
    ) -> Result<ApiAddress, DeletionSettingError> {
        let value = self.environment.non_empty(variable).unwrap_or(default);
        parsed(variable, value, security)
    }
}

fn parsed(
    variable: &'static str,
    value: &str,
    security: RegistrySecurity,
) -> Result<ApiAddress, DeletionSettingError> {
    ApiAddress::parse(value.trim(), security)
        .map_err(|source| DeletionSettingError::Address { variable, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn environment(name: &str, value: &str) -> Environment {
        Environment::of([(name, value)], "/")
    }

    #[test]
    fn the_environment_says_which_kind_a_registry_is() {
        let environment = environment(KINDS, " r.corp.example = gitlab, h:5000=docker-hub ,");
        let settings = DeletionSettings::of(&environment).unwrap();
        for (domain, kind) in [
            ("r.corp.example", Some(RegistryKind::Gitlab)),
            ("h:5000", Some(RegistryKind::DockerHub)),
            ("ghcr.io", Some(RegistryKind::Github)),
            ("h", None),
        ] {
            assert_eq!(settings.kind_at(domain), kind, "{domain}");
        }
    }

    #[test_case("h"; "no kind")]
    #[test_case("h=gitlab,g="; "an empty kind")]
    #[test_case("h=git\u{1b}hub"; "an unknown kind")]
    #[test_case("=gitlab"; "no host")]
    #[test_case("h/a=gitlab"; "a repository")]
    fn malformed_kinds_are_refused(value: &str) {
        let error = DeletionSettings::of(&environment(KINDS, value)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("HOST=KIND"), "{text}");
        assert!(
            text.contains("`docker-hub`") && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    const REQUIRED: RegistrySecurity = RegistrySecurity::Required;

    #[tokio::test]
    async fn the_server_of_an_api_must_be_protected() {
        for (value, is_valid) in [
            ("https://git.corp.example/api/v3", true),
            ("http://git.corp.example/api/v3", false),
            ("", true),
        ] {
            for (variable, kind) in [
                (GITHUB_API, RegistryKind::Github),
                (HUB_API, RegistryKind::DockerHub),
                (AMAZON_APIS[0], RegistryKind::Ecr),
                (AMAZON_APIS[1], RegistryKind::Ecr),
            ] {
                let environment = environment(variable, value);
                let settings = DeletionSettings::of(&environment).unwrap();
                let api = settings.api_of(kind, ECR, REQUIRED).await;
                assert_eq!(api.is_ok(), is_valid, "{variable}: {value}");
            }
        }
    }

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    /// The region, the account and the address of the API of the registry at `domain`.
    async fn amazon(domain: &str, more: &[(&str, &str)]) -> Option<(String, String, String)> {
        let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "B")];
        let mut environment = Environment::of(keys, "/");
        for (name, value) in more {
            environment = environment.with(name, Some(value));
        }
        let settings = DeletionSettings::of(&environment).unwrap();
        match settings.api_of(RegistryKind::Ecr, domain, REQUIRED).await {
            Ok(FoundApi::Api(ApiSpec::Ecr(spec))) => Some((
                spec.region,
                spec.account.unwrap_or_default(),
                format!("{:?}", spec.address),
            )),
            _ => None,
        }
    }

    #[tokio::test]
    async fn amazons_region_is_in_the_name_or_in_the_environment() {
        let (region, account, address) = amazon(ECR, &[("AWS_REGION", "us-east-1")]).await.unwrap();
        assert_eq!((&*region, &*account), ("eu-west-1", "123456789012"));
        assert!(
            address.contains("api.ecr.eu-west-1.amazonaws.com"),
            "{address}"
        );
        assert_eq!(amazon("proxy.corp.example", &[]).await, None);
        for variable in AMAZON_REGIONS {
            let found = amazon("proxy.corp.example", &[(variable, "us-east-1")]).await;
            let (region, account, _) = found.unwrap();
            assert_eq!((&*region, &*account), ("us-east-1", ""));
        }
        assert_eq!(
            amazon("proxy.corp.example", &[("AWS_REGION", "evil.example/")]).await,
            None
        );
    }

    #[tokio::test]
    async fn amazons_own_variables_say_where_its_api_is() {
        let both = [
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_ENDPOINT_URL_ECR", "https://ecr.example/api"),
        ];
        let (_, _, address) = amazon(ECR, &both).await.unwrap();
        assert_eq!(address, "ApiAddress(ecr.example/api)");
        let (_, _, address) = amazon(ECR, &both[..1]).await.unwrap();
        assert_eq!(address, "ApiAddress(all.example)");
        let ignored = [both.as_slice(), &[(AMAZON_IGNORED, "True")]].concat();
        let (_, _, address) = amazon(ECR, &ignored).await.unwrap();
        assert!(address.contains("api.ecr.eu-west-1"), "{address}");
    }
}
