//! The `rbake` command.

fn main() {}
