//! Bad days, from the command line.

mod builder;
mod named;
