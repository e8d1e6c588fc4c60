//! The network of build steps.

/// The network of build steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The builder's choice.
    #[default]
    Default,
    /// The builder's host's.
    Host,
    /// None.
    None,
}

/// The text names no network a build can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network for builds: `default`, `host` and `none` are")]
pub(crate) struct UnknownNetwork(String);

impl NetworkMode {
    /// The names there are.
    pub(crate) const NAMES: [&str; 3] = ["default", "host", "none"];

    /// Reads the attribute's value; empty stands for the default.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "" | "default" => Ok(Self::Default),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => Err(UnknownNetwork(other.to_owned())),
        }
    }
}
