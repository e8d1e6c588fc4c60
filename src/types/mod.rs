//! Types that all other modules may use: names, digests, platforms, secrets, time.
//!
//! Knows nothing of bake files or `BuildKit`. Each text is parsed into its type once, where it enters the program,
//! and after that only the typed value is passed around.

pub(crate) mod awaited;
pub(crate) mod blocking;
pub(crate) mod build_source;
pub(crate) mod causes;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod digest;
pub(crate) mod encoding;
pub mod ending;
pub(crate) mod environment;
pub(crate) mod hash;
pub(crate) mod image;
pub(crate) mod lines_file;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod own_tags;
pub(crate) mod panics;
pub(crate) mod platform;
pub(crate) mod processes;
pub(crate) mod reference;
pub(crate) mod regular;
pub(crate) mod remote;
pub(crate) mod repository;
pub(crate) mod requirements;
pub(crate) mod retry;
pub(crate) mod secret;
pub(crate) mod shutdown;
pub(crate) mod size;
pub(crate) mod temporary;
pub(crate) mod terminal;
pub(crate) mod ulimit;

pub use clock::Clock;
pub use digest::Digest;
pub use environment::Environment;
pub(crate) use image::{ContextImage, ImageName};
pub(crate) use names::GroupName;
pub use names::TargetName;
pub(crate) use network::NetworkMode;
pub use platform::Platform;
pub(crate) use reference::Reference;
pub(crate) use repository::{ImageRepository, ImageTag};
pub use requirements::Requirements;
pub use secret::Secret;
