//! Parsers for attribute values that targets hold as text but builds need in another form.
//!
//! Each file follows the rules of the library with which buildx parses that value.

mod annotation;
mod hosts;

pub(crate) use annotation::{Annotation, AnnotationError, AnnotationLevel};
pub(crate) use hosts::{HostAddress, parse_host};
