//! The file of one builder in buildx's store: its fields, and how they are read (`store/nodegroup.go` at v0.36.1).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::golang::json::{GoValue, Reading, is_field};
use crate::types::{Platform, Secret};

/// A builder in buildx's store: one driver, one or more nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub(crate) name: String,
    /// Its driver, as buildx spells it. Empty if the file names none.
    pub driver: String,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Whether its nodes are found when it is used, as with Kubernetes.
    pub(crate) is_dynamic: bool,
}

/// One node of a builder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The node's name. The container of a `docker-container` node is named after it.
    pub name: String,
    /// An address, a Docker context or a Docker host, depending on the driver.
    pub endpoint: String,
    /// The platforms that the user fixed. `None` and an empty list differ in the file only.
    pub(crate) platforms: Option<Vec<Platform>>,
    /// The options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Flags for buildkitd. `None` and an empty list differ in the file only.
    pub(crate) flags: Option<Vec<String>>,
    /// Files for the folder of buildkitd's configuration: relative paths, and contents in base64. They may hold keys.
    pub(crate) files: BTreeMap<String, Secret<String>>,
}

#[derive(Default)]
struct PlatformFields {
    architecture: String,
    os: String,
    os_version: String,
    os_features: Vec<String>,
    variant: String,
}

impl Instance {
    pub(super) fn field(&mut self, reading: &mut Reading, key: &str, value: GoValue<'_>) {
        if is_field(key, "Name") {
            reading.text(value, "Name", &mut self.name);
        } else if is_field(key, "Driver") {
            reading.text(value, "Driver", &mut self.driver);
        } else if is_field(key, "Nodes") {
            reading.list(value, "Nodes", &mut self.nodes, Node::read);
        } else if is_field(key, "Dynamic") {
            reading.boolean(value, "Dynamic", &mut self.is_dynamic);
        }
    }
}

impl Node {
    fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        reading.object(value, at, |reading, key, value| {
            let below = |name: &str| format!("{at}.{name}");
            if is_field(key, "Name") {
                reading.text(value, &below("Name"), &mut into.name);
            } else if is_field(key, "Endpoint") {
                reading.text(value, &below("Endpoint"), &mut into.endpoint);
            } else if is_field(key, "DriverOpts") {
                reading.map(
                    value,
                    &below("DriverOpts"),
                    &mut into.driver_opts,
                    Reading::text,
                );
            } else if is_field(key, "Platforms") {
                let mut platforms: Vec<PlatformFields> = Vec::new();
                reading.list(
                    value,
                    &below("Platforms"),
                    &mut platforms,
                    PlatformFields::read,
                );
                // One that cannot be parsed is left out: no target has it, either.
                let platforms = platforms.iter().filter_map(PlatformFields::platform);
                into.platforms = (!value.is_null()).then(|| platforms.collect());
            } else if is_field(key, "Flags") {
                let mut flags: Vec<String> = Vec::new();
                reading.list(value, &below("Flags"), &mut flags, Reading::text);
                into.flags = (!value.is_null()).then_some(flags);
            } else if is_field(key, "Files") {
                let mut files: BTreeMap<String, String> = BTreeMap::new();
                reading.map(value, &below("Files"), &mut files, Reading::text);
                into.files = files
                    .into_iter()
                    .map(|(name, content)| (name, Secret::new(content)))
                    .collect();
            }
        });
    }

    /// The driver's option `name`. `None` if it is not set or empty.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.driver_opts
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl PlatformFields {
    fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        reading.object(value, at, |reading, key, value| {
            let fields = [
                ("architecture", &mut into.architecture),
                ("os", &mut into.os),
                ("os.version", &mut into.os_version),
                ("variant", &mut into.variant),
            ];
            for (name, field) in fields {
                if is_field(key, name) {
                    reading.text(value, &format!("{at}.{name}"), field);
                    return;
                }
            }
            if is_field(key, "os.features") {
                reading.list(
                    value,
                    &format!("{at}.os.features"),
                    &mut into.os_features,
                    Reading::text,
                );
            }
        });
    }

    fn platform(&self) -> Option<Platform> {
        let mut text = self.os.clone();
        if !self.os_version.is_empty() || !self.os_features.is_empty() {
            let _ = write!(text, "({}", escaped(&self.os_version));
            for feature in &self.os_features {
                let _ = write!(text, "+{}", escaped(feature));
            }
            text.push(')');
        }
        let _ = write!(text, "/{}", self.architecture);
        if !self.variant.is_empty() {
            let _ = write!(text, "/{}", self.variant);
        }
        text.parse().ok()
    }
}

/// Escapes what may not stand in the options of a platform's operating system.
fn escaped(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'.')
        .remove(b'-')
        .remove(b'_');
    percent_encoding::utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::golang::json::{GoText, Trailing};

    pub(in crate::builder::store) fn read(text: &str) -> Instance {
        let text = GoText::new(text.as_bytes());
        let value = text.value(Trailing::Refused).unwrap().unwrap();
        let (mut instance, mut reading) = (Instance::default(), Reading::default());
        reading.object(value, "", |reading, key, value| {
            instance.field(reading, key, value);
        });
        assert!(reading.wrong.is_empty(), "{:?}", reading.wrong);
        instance
    }

    // Written by buildx v0.36.1, with `create --append`, `--platform`, `--driver-opt` and `--buildkitd-config`.
    pub(in crate::builder::store) const WHOLE: &str = r#"{"Name":"ci","Driver":"docker-container","Nodes":[{"Name":"ci0","Endpoint":"unix:///var/run/docker.sock","Platforms":[],"DriverOpts":null,"Flags":["--allow-insecure-entitlement=network.host"],"Files":null},{"Name":"n\u003c1","Endpoint":"far","Platforms":[{"architecture":"arm64","os":"linux"},{"architecture":"arm","os":"linux","variant":"v7"},{"architecture":"amd64","os":"windows","os.version":"10.0.17763","os.features":["win32k","a/b"]}],"DriverOpts":{"env.A":"b\u0026c","image":"x"},"Flags":null,"Files":{"buildkitd.toml":"ZGVidWcgPSB0cnVlCg==","certs/h_5000/ca.pem":""}}],"Dynamic":false}"#;

    #[test]
    fn all_fields_are_read() {
        let instance = read(WHOLE);
        let node = &instance.nodes[1];
        let platforms: Vec<String> = node
            .platforms
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            platforms,
            [
                "linux/arm64",
                "linux/arm/v7",
                "windows(10.0.17763+win32k+a%2Fb)/amd64"
            ]
        );
        assert_eq!(
            node.files["buildkitd.toml"].expose(),
            "ZGVidWcgPSB0cnVlCg=="
        );
        assert!(!format!("{node:?}").contains("ZGVi"), "{node:?}");
        assert_eq!(instance.nodes[0].platforms, Some(Vec::new()));
    }
}
