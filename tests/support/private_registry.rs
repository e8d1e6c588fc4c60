//! A registry for one test, which needs a password.

use super::distribution::{DistributionRegistry, Version};

/// The real distribution registry with one user. It ends when this is dropped.
pub(crate) struct PrivateRegistry {
    _registry: DistributionRegistry,
    /// Host and port.
    pub address: String,
}

/// The name of the registry's user.
pub(crate) const USER: &str = "keeper";
/// The user's password. Its encoding differs between the standard and the URL-safe alphabet of base64.
pub(crate) const PASSWORD: &str = "w?~~~>?>?x";

impl PrivateRegistry {
    /// Starts the registry.
    pub(crate) fn start() -> Self {
        let registry = DistributionRegistry::start_with(Version::V3, |dir| {
            let users = dir.join("htpasswd");
            let hash = bcrypt::hash(PASSWORD, 4).unwrap();
            std::fs::write(&users, format!("{USER}:{hash}\n")).unwrap();
            format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                users.display()
            )
        });
        Self {
            address: registry.address.clone(),
            _registry: registry,
        }
    }

    /// A `config.json` for Docker that has the password.
    pub(crate) fn docker_config(&self) -> String {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#, self.address)
    }
}
