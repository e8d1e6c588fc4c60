//! The options of the driver `kubernetes`.
//!
//! The names and forms are buildx's (`driver/kubernetes/factory.go` at v0.36.1). Start at [`KubernetesOptions::parse`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::bad_option;
use crate::builder::container::DriverOptionError;
use crate::golang::strconv::parse_bool;
use crate::golang::time::parse_duration;

/// The images of a builder whose options name none.
const IMAGE: &str = "moby/buildkit:buildx-stable-1";
const ROOTLESS_IMAGE: &str = "moby/buildkit:buildx-stable-1-rootless";
const QEMU_IMAGE: &str = "tonistiigi/binfmt:latest";
/// How long a user waits for the pods.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The names of all options of the driver, for messages. Variables are `env.NAME`.
const NAMES: [&str; 24] = [
    "image",
    "namespace",
    "replicas",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "persistent-volume-claim.requests.storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "rootless",
    "schedulername",
    "serviceaccount",
    "nodeselector",
    "annotations",
    "labels",
    "tolerations",
    "loadbalance",
    "qemu.install",
    "qemu.image",
    "buildkit-root-volume-memory",
    "default-load",
    "timeout",
    "env.",
];

/// How one of several pods is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::builder) enum LoadBalance {
    /// The same one for builds in the same directory.
    Sticky,
    /// By chance.
    Random,
}

/// A taint of machines that the pods accept. Absent fields accept more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Toleration {
    /// The fields, by their names in Kubernetes.
    pub(super) fields: BTreeMap<&'static str, String>,
    pub(super) seconds: Option<i64>,
}

/// The options of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::builder) struct KubernetesOptions {
    pub(super) image: String,
    /// `None` for that of the context.
    pub(super) namespace: Option<String>,
    pub(super) replicas: i32,
    /// What a pod asks for and may have: the name of the option, and the amount as the user wrote it.
    pub(super) amounts: BTreeMap<&'static str, String>,
    pub(super) is_rootless: bool,
    pub(super) scheduler: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) load_balance: LoadBalance,
    pub(super) qemu: Option<String>,
    pub(super) timeout: Duration,
    /// Variables of buildkitd.
    pub(super) env: BTreeMap<String, String>,
}

/// The options whose values are amounts.
pub(super) const REQUEST_CPU: &str = "requests.cpu";
pub(super) const REQUEST_MEMORY: &str = "requests.memory";
pub(super) const REQUEST_EPHEMERAL: &str = "requests.ephemeral-storage";
pub(super) const CLAIM: &str = "persistent-volume-claim.requests.storage";
pub(super) const LIMIT_CPU: &str = "limits.cpu";
pub(super) const LIMIT_MEMORY: &str = "limits.memory";
pub(super) const LIMIT_EPHEMERAL: &str = "limits.ephemeral-storage";
pub(super) const ROOT_IN_MEMORY: &str = "buildkit-root-volume-memory";
const AMOUNTS: [&str; 8] = [
    REQUEST_CPU,
    REQUEST_MEMORY,
    REQUEST_EPHEMERAL,
    CLAIM,
    LIMIT_CPU,
    LIMIT_MEMORY,
    LIMIT_EPHEMERAL,
    ROOT_IN_MEMORY,
];

/// A label and an annotation that the driver itself sets.
pub(super) const APP: &str = "app";
pub(super) const PLATFORM: &str = "buildx.docker.com/platform";

impl KubernetesOptions {
    /// Parses the options of a node. An empty value counts as unset for texts, as in buildx.
    pub(in crate::builder) fn parse(
        options: &BTreeMap<String, String>,
    ) -> Result<Self, DriverOptionError> {
        let mut parsed = Self::default();
        let mut image = None;
        let mut installs_qemu = false;
        let mut qemu_image = QEMU_IMAGE.to_owned();
        for (name, value) in options {
            let text = || (!value.is_empty()).then(|| value.clone());
            if let Some(amount) = AMOUNTS.into_iter().find(|amount| name == amount) {
                if !value.is_empty() {
                    check_amount(name, value)?;
                    parsed.amounts.insert(amount, value.clone());
                }
                continue;
            }
            match name.as_str() {
                "image" => image = text(),
                "namespace" => parsed.namespace = Some(namespace(value)?),
                "replicas" => parsed.replicas = replicas(value)?,
                "rootless" => parsed.is_rootless = boolean(name, value)?,
                "schedulername" => parsed.scheduler = text(),
                "serviceaccount" => parsed.service_account = text(),
                "nodeselector" => parsed.node_selector = pairs(name, value)?,
                "annotations" => parsed.annotations = not_reserved(name, value, PLATFORM)?,
                "labels" => parsed.labels = not_reserved(name, value, APP)?,
                "tolerations" => parsed.tolerations = tolerations(value)?,
                "loadbalance" => {
                    parsed.load_balance = match value.as_str() {
                        "sticky" => LoadBalance::Sticky,
                        "random" => LoadBalance::Random,
                        _ => return Err(bad_option(name, value, "`sticky` or `random`")),
                    }
                }
                "qemu.install" => installs_qemu = boolean(name, value)?,
                "qemu.image" => qemu_image = text().unwrap_or(qemu_image),
                "default-load" => drop(boolean(name, value)?),
                "timeout" => parsed.timeout = timeout(value)?,
                name => match name.strip_prefix("env.") {
                    Some("") => return Err(DriverOptionError::Form(format!("{name}={value}"))),
                    Some(variable) => drop(parsed.env.insert(variable.to_owned(), value.clone())),
                    None => {
                        return Err(DriverOptionError::Unknown {
                            driver: "kubernetes",
                            name: name.to_owned(),
                            known: &NAMES,
                        });
                    }
                },
            }
        }
        // buildx takes the rootless image also for `rootless=false`, and for no other reason.
        let default = if parsed.is_rootless {
            ROOTLESS_IMAGE
        } else {
            IMAGE
        };
        parsed.image = image.unwrap_or_else(|| default.to_owned());
        parsed.qemu = installs_qemu.then_some(qemu_image);
        Ok(parsed)
    }

    /// The amount of the option `name`. `None` if it is not set.
    pub(super) fn amount(&self, name: &str) -> Option<&str> {
        self.amounts.get(name).map(String::as_str)
    }
}

impl Default for KubernetesOptions {
    fn default() -> Self {
        Self {
            image: String::new(),
            namespace: None,
            replicas: 1,
            amounts: BTreeMap::new(),
            is_rootless: false,
            scheduler: None,
            service_account: None,
            node_selector: BTreeMap::new(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            tolerations: Vec::new(),
            load_balance: LoadBalance::Sticky,
            qemu: None,
            timeout: TIMEOUT,
            env: BTreeMap::new(),
        }
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, DriverOptionError> {
    parse_bool(value).ok_or_else(|| bad_option(name, value, "`true` or `false`"))
}

fn namespace(value: &str) -> Result<String, DriverOptionError> {
    if crate::engine::endpoint::is_kubernetes_name(value) {
        Ok(value.to_owned())
    } else {
        Err(bad_option("namespace", value, "a name such as `builders`"))
    }
}

fn replicas(value: &str) -> Result<i32, DriverOptionError> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| bad_option("replicas", value, "a whole number above 0"))
}

fn timeout(value: &str) -> Result<Duration, DriverOptionError> {
    let nanoseconds = parse_duration(value)
        .ok()
        .and_then(|n| u64::try_from(n).ok());
    match nanoseconds {
        Some(nanoseconds @ 1..) => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(bad_option("timeout", value, "a time such as `90s` or `2m`")),
    }
}

/// Checks an amount of something (`k8s.io/apimachinery/pkg/api/resource`): a number, and a suffix such as `m`, `M`, `Mi` or `e3`.
fn check_amount(name: &str, value: &str) -> Result<(), DriverOptionError> {
    const SUFFIXES: [&str; 16] = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let is_digit = |c: char| c.is_ascii_digit();
    let unsigned = value.strip_prefix('+').unwrap_or(value);
    let suffix = unsigned.trim_start_matches(|c| is_digit(c) || c == '.');
    let number = unsigned.strip_suffix(suffix).unwrap_or_default();
    let is_number = number.matches('.').count() <= 1 && number.contains(is_digit);
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .is_some_and(|exponent| exponent.parse::<i8>().is_ok());
    if is_number && (exponent || SUFFIXES.contains(&suffix)) {
        Ok(())
    } else {
        Err(bad_option(name, value, "an amount such as `500m` or `2Gi`"))
    }
}

/// Parses `NAME=VALUE,NAME=VALUE`, which may be quoted as a whole.
fn pairs(name: &str, value: &str) -> Result<BTreeMap<String, String>, DriverOptionError> {
    let pairs = value.trim_matches('"').split(',');
    let pairs = pairs.map(|pair| match pair.split('=').collect::<Vec<_>>()[..] {
        [name, value] => Some((name.to_owned(), value.to_owned())),
        _ => None,
    });
    let pairs: Option<_> = pairs.collect();
    pairs.ok_or_else(|| {
        bad_option(
            name,
            value,
            "`NAME=VALUE`, several with commas between them",
        )
    })
}

fn not_reserved(
    name: &str,
    value: &str,
    reserved: &str,
) -> Result<BTreeMap<String, String>, DriverOptionError> {
    let pairs = pairs(name, value)?;
    if pairs.contains_key(reserved) {
        let expected = if reserved == APP {
            "a label other than `app`, which the driver sets"
        } else {
            "an annotation other than `buildx.docker.com/platform`, which the driver sets"
        };
        return Err(bad_option(name, value, expected));
    }
    Ok(pairs)
}

/// Parses `key=…,operator=…,value=…,effect=…,tolerationSeconds=…`, several with semicolons between them. As in buildx, parts without
/// `=` are ignored.
fn tolerations(value: &str) -> Result<Vec<Toleration>, DriverOptionError> {
    const EXPECTED: &str = "`key`, `operator`, `value`, `effect` and `tolerationSeconds`, as in `key=gpu,operator=Exists;…`";
    let invalid = || bad_option("tolerations", value, EXPECTED);
    let mut all = Vec::new();
    for one in value.split(';') {
        let mut toleration = Toleration::default();
        for part in one.split(',') {
            let [name, text] = part.split('=').collect::<Vec<_>>()[..] else {
                continue;
            };
            if name == "tolerationSeconds" {
                toleration.seconds = Some(text.parse().map_err(|_| invalid())?);
                continue;
            }
            let known = ["key", "operator", "value", "effect"];
            let known = known.into_iter().find(|known| *known == name);
            toleration
                .fields
                .insert(known.ok_or_else(invalid)?, text.to_owned());
        }
        all.push(toleration);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    pub(in crate::builder::kubernetes) fn options(
        pairs: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn parse(pairs: &[(&str, &str)]) -> KubernetesOptions {
        KubernetesOptions::parse(&options(pairs)).unwrap()
    }

    #[test]
    fn without_options_one_pod_runs_the_default_image() {
        let parsed = parse(&[]);
        assert_eq!((parsed.replicas, parsed.image.as_str()), (1, IMAGE));
        assert_eq!(parsed.load_balance, LoadBalance::Sticky);
        assert_eq!(parsed.timeout, Duration::from_secs(120));
    }

    #[test]
    fn a_rootless_builder_has_the_rootless_image_unless_one_is_named() {
        assert_eq!(parse(&[("rootless", "true")]).image, ROOTLESS_IMAGE);
        assert_eq!(parse(&[("rootless", "false")]).image, IMAGE);
        assert_eq!(
            parse(&[("rootless", "true"), ("image", "h/b:1")]).image,
            "h/b:1"
        );
    }

    #[test]
    fn lists_are_parsed() {
        let parsed = parse(&[
            ("nodeselector", "\"kubernetes.io/arch=amd64,disk=ssd\""),
            (
                "tolerations",
                "key=gpu,operator=Exists,effect=NoExecute,tolerationSeconds=60;operator=Exists",
            ),
            ("env.A", "b=c"),
            ("requests.cpu", "500m"),
            ("qemu.install", "1"),
            ("timeout", "1m30s"),
        ]);
        assert_eq!(parsed.node_selector["disk"], "ssd");
        assert_eq!(parsed.tolerations.len(), 2);
        assert_eq!(parsed.tolerations[0].seconds, Some(60));
        assert_eq!(parsed.env["A"], "b=c");
        assert_eq!(parsed.amount("requests.cpu"), Some("500m"));
        assert_eq!(parsed.qemu.as_deref(), Some(QEMU_IMAGE));
        assert_eq!(parsed.timeout, Duration::from_secs(90));
    }

    #[test_case("replicas", "two", "a whole number"; "a word as number")]
    #[test_case("replicas", "0", "above 0"; "no pod")]
    #[test_case("requests.cpu", "much", "an amount"; "a word as amount")]
    #[test_case("limits.memory", "2gb", "an amount"; "another suffix")]
    #[test_case("limits.memory", "1.2.3", "an amount"; "two points")]
    #[test_case("limits.memory", "-1", "an amount"; "a negative amount")]
    #[test_case("rootless", "yes", "`true` or `false`"; "no boolean")]
    #[test_case("loadbalance", "fair", "`sticky` or `random`"; "another balance")]
    #[test_case("nodeselector", "a", "NAME=VALUE"; "a selector without a value")]
    #[test_case("labels", "app=x", "other than `app`"; "the label of the driver")]
    #[test_case("annotations", "buildx.docker.com/platform=x", "which the driver sets"; "the annotation of the driver")]
    #[test_case("tolerations", "kay=x", "`operator`"; "a misspelt field")]
    #[test_case("tolerations", "tolerationSeconds=soon", "`operator`"; "a word as seconds")]
    #[test_case("timeout", "90", "a time"; "a time without a unit")]
    #[test_case("namespace", "a/b", "a name"; "a path as namespace")]
    #[test_case("env.", "x", "NAME=VALUE"; "a variable without a name")]
    #[test_case("replica", "2", "has no option `replica`"; "a misspelt name")]
    fn bad_options_are_refused(name: &str, value: &str, expected: &str) {
        let error = KubernetesOptions::parse(&options(&[(name, value)])).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test_case("1"; "a number")]
    #[test_case("0.5"; "a fraction")]
    #[test_case(".5Gi"; "a fraction without a zero")]
    #[test_case("1e3"; "an exponent")]
    #[test_case("1E"; "exabytes")]
    #[test_case("100Ki"; "a binary suffix")]
    fn amounts_of_kubernetes_are_accepted(value: &str) {
        assert_eq!(check_amount("limits.cpu", value), Ok(()));
    }
}
