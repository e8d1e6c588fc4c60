//! The vocabulary every other module may use: names, digests, platforms, secrets, time.
//!
//! Knows nothing of bake files or `BuildKit`. Each type is parsed once, where text enters the program, and is passed as
//! itself from there on.

pub mod awaited;
pub mod blocking;
pub mod causes;
pub mod clock;
pub mod descriptors;
pub mod digest;
pub mod encoding;
pub mod ending;
pub mod environment;
pub mod hash;
pub mod image;
pub mod lock;
pub mod names;
pub mod network;
pub mod platform;
pub mod processes;
pub mod reference;
pub mod regular;
pub mod remote;
pub mod requirements;
pub mod secret;
pub mod size;
pub mod temporary;
pub mod terminal;
pub mod ulimit;

pub use clock::Clock;
pub use digest::Digest;
pub use environment::Environment;
pub use image::{ContextImage, ImageName};
pub use names::{GroupName, TargetName};
pub use network::NetworkMode;
pub use platform::Platform;
pub use reference::Reference;
pub use requirements::{Ability, Need, Requirements};
pub use secret::Secret;
