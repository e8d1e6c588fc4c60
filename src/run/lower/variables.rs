//! Environment variables of buildx that are true or false.

use crate::diag::{Class, Diagnostic};
use crate::golang::strconv;
use crate::types::Environment;

/// An environment variable that switches a default of buildx off. As in buildx, a value that is neither true nor false is an error, also an
/// empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// Without it, images get minimal provenance.
    NoDefaultAttestations,
    /// Without it, attestations are OCI artifacts.
    NoDefaultOciArtifact,
}

impl Switch {
    const fn name(self) -> &'static str {
        match self {
            Self::NoDefaultAttestations => "BUILDX_NO_DEFAULT_ATTESTATIONS",
            Self::NoDefaultOciArtifact => "BUILDX_NO_DEFAULT_OCI_ARTIFACT",
        }
    }

    /// Whether `environment` sets it.
    ///
    /// # Errors
    /// Its value is neither true nor false. The message is the same for all targets.
    pub(super) fn is_set(self, environment: &Environment) -> Result<bool, Diagnostic> {
        let name = self.name();
        let Some(value) = environment.get(name) else {
            return Ok(false);
        };
        strconv::parse_bool(value).ok_or_else(|| {
            let message = format!("`{name}` is `{value}`, which is neither true nor false");
            Diagnostic::error(Class::Definition, "run::variable", message)
                .help(format!("set `{name}=1` or `{name}=0`, or unset it"))
        })
    }
}
