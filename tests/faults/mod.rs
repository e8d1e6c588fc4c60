//! Bad days, from the command line.

mod builder;
mod descriptors;
mod ends;
mod named;
mod silence;
