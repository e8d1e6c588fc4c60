//! The options of the drivers `docker-container` and `remote`.
//!
//! The names and forms are buildx's (`driver/docker-container/factory.go`, `driver/remote/factory.go` at v0.36.1).
//! Start at [`ContainerOptions::parse`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::docker::{ContainerLimits, RestartPolicy};
use crate::golang::strconv::parse_bool;
use crate::types::secret::redact_urls;
use crate::types::size::parse_size;

/// The options of a node of the driver `docker-container`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerOptions {
    /// The image. `None` for the default.
    pub(crate) image: Option<String>,
    /// The network. `None` for the Engine's default.
    pub(crate) network: Option<String>,
    /// Limits and placement.
    pub(crate) limits: ContainerLimits,
    pub(crate) restart: RestartPolicy,
    /// Variables, as `NAME=value`.
    pub(crate) env: Vec<String>,
}

/// The names of all options of the driver `docker-container`, for messages. Variables are `env.NAME`.
const OF_CONTAINER: [&str; 15] = [
    "network",
    "image",
    "memory",
    "memory-swap",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "cgroup-parent",
    "restart-policy",
    "default-load",
    "env.",
    "provenance-add-gha",
    "allow-untrusted-image",
];
const OF_REMOTE: [&str; 5] = ["cacert", "cert", "key", "servername", "default-load"];

/// An option of a driver cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverOptionError {
    /// The driver has no such option.
    #[error("the driver `{driver}` has no option `{name}`")]
    Unknown {
        /// The driver.
        driver: &'static str,
        /// The option.
        name: String,
        /// The options that it has.
        known: &'static [&'static str],
    },
    /// The value does not have the form that the option needs.
    #[error("`{value}` is not a valid value of the driver's option `{name}` (expected {expected})")]
    Value {
        /// The option.
        name: String,
        /// The value, without credentials.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Options for TLS are set, but not all that it needs.
    #[error("the driver's options ask for TLS, but `{0}` is not set")]
    MissingTls(&'static str),
    /// The option is not of the form `NAME=VALUE`.
    #[error("`{0}` is not a valid option of a driver (expected `NAME=VALUE`)")]
    Form(String),
}

impl DriverOptionError {
    pub(in crate::builder) fn value(name: &str, value: &str, expected: &'static str) -> Self {
        Self::Value {
            name: name.to_owned(),
            value: redact_urls(value).into_owned(),
            expected,
        }
    }
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            image: None,
            network: None,
            limits: ContainerLimits::default(),
            restart: RestartPolicy::UnlessStopped,
            env: Vec::new(),
        }
    }
}

impl ContainerOptions {
    /// Parses the options of a node. An empty value counts as unset for texts, as in buildx.
    pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Self, DriverOptionError> {
        let mut parsed = Self::default();
        for (name, value) in options {
            let text = || (!value.is_empty()).then(|| value.clone());
            let limits = &mut parsed.limits;
            match name.as_str() {
                "network" => parsed.network = text(),
                "image" => parsed.image = text(),
                "memory" => limits.memory = Some(size(name, value)?),
                "memory-swap" if value == "-1" => limits.memory_swap = Some(-1),
                "memory-swap" => limits.memory_swap = Some(size(name, value)?),
                "cpu-period" => limits.cpu_period = Some(whole(name, value)?),
                "cpu-quota" => limits.cpu_quota = Some(whole(name, value)?),
                "cpu-shares" => limits.cpu_shares = Some(whole(name, value)?),
                "cpuset-cpus" => limits.cpuset_cpus = text(),
                "cpuset-mems" => limits.cpuset_mems = text(),
                "cgroup-parent" => limits.cgroup_parent = text(),
                "restart-policy" => parsed.restart = restart_policy(name, value)?,
                "default-load" | "provenance-add-gha" | "allow-untrusted-image" => {
                    boolean(name, value)?;
                }
                name => match name.strip_prefix("env.") {
                    Some("") => {
                        return Err(DriverOptionError::Form(format!(
                            "{name}={}",
                            redact_urls(value)
                        )));
                    }
                    Some(variable) => parsed.env.push(format!("{variable}={value}")),
                    None => return Err(unknown("docker-container", name, &OF_CONTAINER)),
                },
            }
        }
        Ok(parsed)
    }
}

/// Checks the options of a node of the driver `remote`.
pub(crate) fn check_remote(options: &BTreeMap<String, String>) -> Result<(), DriverOptionError> {
    for (name, value) in options {
        match name.as_str() {
            "servername" => {}
            "cacert" | "cert" | "key" => {
                if !Path::new(value).is_absolute() {
                    return Err(DriverOptionError::value(name, value, "an absolute path"));
                }
            }
            "default-load" => boolean(name, value)?,
            _ => return Err(unknown("remote", name, &OF_REMOTE)),
        }
    }
    let has = |name: &str| options.contains_key(name);
    let missing = match (has("cacert"), has("cert"), has("key"), has("servername")) {
        (false, cert, key, server) if cert || key || server => Some("cacert"),
        (_, true, false, _) => Some("key"),
        (_, false, true, _) => Some("cert"),
        _ => None,
    };
    missing.map_or(Ok(()), |name| Err(DriverOptionError::MissingTls(name)))
}

fn unknown(driver: &'static str, name: &str, known: &'static [&'static str]) -> DriverOptionError {
    DriverOptionError::Unknown {
        driver,
        name: name.to_owned(),
        known,
    }
}

fn size(name: &str, value: &str) -> Result<i64, DriverOptionError> {
    let bytes = parse_size(value)
        .ok()
        .and_then(|bytes| i64::try_from(bytes).ok());
    bytes.ok_or_else(|| DriverOptionError::value(name, value, "a size such as `512m` or `2g`"))
}

fn whole(name: &str, value: &str) -> Result<i64, DriverOptionError> {
    let number = value.parse().ok();
    number.ok_or_else(|| DriverOptionError::value(name, value, "a whole number"))
}

fn boolean(name: &str, value: &str) -> Result<(), DriverOptionError> {
    match parse_bool(value) {
        Some(_) => Ok(()),
        None => Err(DriverOptionError::value(name, value, "`true` or `false`")),
    }
}

fn restart_policy(name: &str, value: &str) -> Result<RestartPolicy, DriverOptionError> {
    let invalid = || {
        let expected = "`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:NUMBER`";
        DriverOptionError::value(name, value, expected)
    };
    match value.split_once(':') {
        None => match value {
            "no" | "" => Ok(RestartPolicy::Never),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            "on-failure" => Ok(RestartPolicy::OnFailure(0)),
            _ => Err(invalid()),
        },
        Some(("on-failure", number)) => {
            let number = number.parse().map_err(|_| invalid())?;
            Ok(RestartPolicy::OnFailure(number))
        }
        Some(_) => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn all_options_of_buildx_are_parsed() {
        let parsed = ContainerOptions::parse(&options(&[
            ("network", "host"),
            ("image", "h:5000/buildkit:1"),
            ("memory", "512m"),
            ("memory-swap", "-1"),
            ("cpu-period", "100000"),
            ("cpu-quota", "50000"),
            ("cpu-shares", "512"),
            ("cpuset-cpus", "0-1"),
            ("cpuset-mems", "0"),
            ("cgroup-parent", "/x"),
            ("restart-policy", "on-failure:3"),
            ("default-load", "true"),
            ("env.HTTP_PROXY", "http://p:1"),
            ("provenance-add-gha", "false"),
            ("allow-untrusted-image", "1"),
        ]))
        .unwrap();
        assert_eq!(parsed.limits.memory, Some(512 << 20));
        assert_eq!(parsed.limits.memory_swap, Some(-1));
        assert_eq!(
            (parsed.limits.cpu_period, parsed.limits.cpu_quota),
            (Some(100_000), Some(50_000))
        );
        assert_eq!(parsed.restart, RestartPolicy::OnFailure(3));
        assert_eq!(parsed.env, ["HTTP_PROXY=http://p:1"]);
        assert_eq!(parsed.image.as_deref(), Some("h:5000/buildkit:1"));
    }

    #[test]
    fn without_a_policy_the_container_starts_again_unless_it_was_stopped() {
        let parsed = ContainerOptions::parse(&BTreeMap::new()).unwrap();
        assert_eq!(parsed.restart, RestartPolicy::UnlessStopped);
    }

    #[test_case("memory", "much", "a size"; "a word as size")]
    #[test_case("memory", "-1", "a size"; "a negative size")]
    #[test_case("cpu-quota", "1.5", "a whole number"; "a fraction")]
    #[test_case("default-load", "yes", "`true` or `false`"; "no boolean")]
    #[test_case("restart-policy", "always:3", "`unless-stopped`"; "a number of another policy")]
    #[test_case("restart-policy", "on-failure:x", "`unless-stopped`"; "a word as number")]
    #[test_case("env.", "x", "NAME=VALUE"; "a variable without a name")]
    #[test_case("netwrok", "host", "has no option `netwrok`"; "a misspelt name")]
    fn bad_options_of_a_container_are_refused(name: &str, value: &str, expected: &str) {
        let error = ContainerOptions::parse(&options(&[(name, value)])).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn tls_of_a_remote_builder_must_be_complete() {
        let check = |pairs: &[(&str, &str)]| check_remote(&options(pairs));
        assert_eq!(check(&[("cacert", "/c/ca.pem")]), Ok(()));
        assert_eq!(check(&[("default-load", "true")]), Ok(()));
        assert_eq!(
            check(&[("servername", "x")]),
            Err(DriverOptionError::MissingTls("cacert"))
        );
        let pair = [("cacert", "/ca"), ("cert", "/cert")];
        assert_eq!(check(&pair), Err(DriverOptionError::MissingTls("key")));
        assert!(matches!(
            check(&[("cacert", "ca.pem")]),
            Err(DriverOptionError::Value { .. })
        ));
        assert!(matches!(
            check(&[("image", "x")]),
            Err(DriverOptionError::Unknown { .. })
        ));
    }
}
