//! `rbake prune` against both versions of the distribution registry.

mod faults;
mod published;
mod site;
mod steps;
