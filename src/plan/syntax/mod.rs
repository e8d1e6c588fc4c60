//! Values that targets hold as text and builds need as addresses and keys.
//!
//! Each file reads one of them by the rules of the library buildx reads it with.

mod annotation;
mod hosts;

pub(crate) use annotation::{Annotation, AnnotationError, AnnotationLevel};
pub(crate) use hosts::{HostAddress, parse_host};
