//! Bad days, from the command line.

mod builder;
mod descriptors;
mod ends;
mod logs;
mod named;
mod silence;
