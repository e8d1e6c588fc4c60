//! Values that targets hold as text and builds need as numbers, addresses and names.
//!
//! Each file reads one of them by the rules of the library buildx reads it with.

mod annotation;
mod hosts;
mod network;

pub use annotation::{Annotation, AnnotationError, AnnotationLevel};
pub use hosts::{HostAddress, HostsError, parse_host};
pub use network::{NetworkMode, UnknownNetwork};
