//! Runs of the program in which something fails: the builder, the network, git, or the run itself is stopped.

mod builder;
mod descriptors;
mod ends;
mod logs;
mod named;
mod silence;
