//! The registries that rbake knows: by which domains they are recognised, and what a login needs that may delete.

use super::EcrPlace;

/// A registry, or the software of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RegistryKind {
    /// Distribution, and everything that is not known. What it deletes is found out by asking.
    Distribution,
    /// GitHub's registry.
    Github,
    /// GitLab's registry.
    Gitlab,
    /// Google's registry, and its successor.
    Google,
    /// Amazon's private registries.
    Ecr,
    /// Amazon's public registry.
    EcrPublic,
    /// Docker Hub.
    DockerHub,
}

/// What is known of a kind.
struct KindRow {
    kind: RegistryKind,
    /// Its name in `RBAKE_REGISTRY_KINDS`.
    name: &'static str,
    /// Its domains, or the ends of its domains.
    domains: &'static [&'static str],
    /// What a login needs that may delete.
    login: &'static str,
}

const ROWS: [KindRow; 7] = [
    KindRow {
        kind: RegistryKind::Distribution,
        name: "distribution",
        domains: &[],
        login: "the login needs the right to delete",
    },
    KindRow {
        kind: RegistryKind::Github,
        name: "github",
        domains: &["ghcr.io"],
        login: "log in with a personal access token (classic) that has the scopes `write:packages` and `delete:packages`, or give the repository of the workflow the role Admin for the package",
    },
    KindRow {
        kind: RegistryKind::Gitlab,
        name: "gitlab",
        domains: &["registry.gitlab.com"],
        login: "in a CI job, log in with `CI_REGISTRY_USER` and `CI_REGISTRY_PASSWORD`, which may delete from the registry of the job's project; elsewhere, with an access token of a member who may delete images (a deploy token may not)",
    },
    KindRow {
        kind: RegistryKind::Google,
        name: "google",
        domains: &["gcr.io", ".gcr.io", ".pkg.dev"],
        login: "the account needs the permissions `artifactregistry.tags.delete` and `artifactregistry.versions.delete`",
    },
    KindRow {
        kind: RegistryKind::Ecr,
        name: "ecr",
        // Known by `EcrPlace`.
        domains: &[],
        login: "the keys need the permissions `ecr:BatchDeleteImage` and `ecr:DescribeImages`; `aws sts get-caller-identity` shows whose they are",
    },
    KindRow {
        kind: RegistryKind::EcrPublic,
        name: "ecr-public",
        domains: &["public.ecr.aws"],
        login: "`aws ecr-public batch-delete-image --region us-east-1` deletes the digests of the plan (`--json` has them)",
    },
    KindRow {
        kind: RegistryKind::DockerHub,
        name: "docker-hub",
        domains: &["docker.io"],
        login: "log in with a personal access token that has the permissions Read, Write and Delete (`docker login -u USER`)",
    },
];

impl RegistryKind {
    fn row(self) -> Option<&'static KindRow> {
        ROWS.iter().find(|row| row.kind == self)
    }

    /// The kind with this name in `RBAKE_REGISTRY_KINDS`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let row = ROWS.iter().find(|row| row.name == name)?;
        Some(row.kind)
    }

    /// The names of all kinds, for a message.
    pub(super) fn names() -> String {
        ROWS.map(|row| format!("`{}`", row.name)).join(", ")
    }

    /// The kind of the registry at `domain`. `None` if the domain does not tell.
    pub(super) fn at(domain: &str) -> Option<Self> {
        let is_at = |known: &'static str| {
            known == domain || known.starts_with('.') && domain.ends_with(known)
        };
        let mut rows = ROWS.iter();
        let row = rows.find(|row| row.domains.iter().any(|known| is_at(known)));
        let ecr = || EcrPlace::of(domain).map(|_| Self::Ecr);
        row.map(|row| row.kind).or_else(ecr)
    }

    /// What a login needs that may delete.
    pub(crate) fn login(self) -> &'static str {
        self.row().map_or("", |row| row.login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use test_case::test_case;

    #[test_case("ghcr.io", Some(RegistryKind::Github); "github")]
    #[test_case("registry.gitlab.com", Some(RegistryKind::Gitlab); "gitlab")]
    #[test_case("gcr.io", Some(RegistryKind::Google); "google")]
    #[test_case("eu.gcr.io", Some(RegistryKind::Google); "google in a region")]
    #[test_case("europe-docker.pkg.dev", Some(RegistryKind::Google); "google's successor")]
    #[test_case("docker.io", Some(RegistryKind::DockerHub); "docker hub")]
    #[test_case("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(RegistryKind::Ecr); "amazon")]
    #[test_case("public.ecr.aws", Some(RegistryKind::EcrPublic); "amazon in public")]
    #[test_case("ec2.amazonaws.com", None; "another server of amazon")]
    #[test_case("notgcr.io", None; "another domain with the same end")]
    #[test_case("docker.io.example", None; "another domain with the same beginning")]
    #[test_case("h.example", None; "another")]
    fn registries_are_known_by_their_domains(domain: &str, kind: Option<RegistryKind>) {
        assert_eq!(RegistryKind::at(domain), kind);
    }

    #[test]
    fn each_kind_has_one_row() {
        let kinds: BTreeSet<_> = ROWS.iter().map(|row| row.kind).collect();
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!((kinds.len(), names.len()), (ROWS.len(), ROWS.len()));
        for row in &ROWS {
            assert_eq!(RegistryKind::named(row.name), Some(row.kind));
            assert!(!row.kind.login().is_empty());
        }
    }
}
