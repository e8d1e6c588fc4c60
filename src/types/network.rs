//! The network mode of build steps (the attribute `network`).

/// The network that build steps can use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The builder's default.
    #[default]
    Default,
    /// The network of the builder's host. Needs an entitlement.
    Host,
    /// No network.
    None,
}

/// The text is not a network mode for builds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid network for builds (expected `default`, `host` or `none`)")]
pub(crate) struct UnknownNetwork(String);

impl NetworkMode {
    /// The valid names.
    pub(crate) const NAMES: [&str; 3] = ["default", "host", "none"];

    /// Parses the attribute's value. An empty text means the default.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "" | "default" => Ok(Self::Default),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => Err(UnknownNetwork(other.to_owned())),
        }
    }
}
