//! rbake's test suite: one binary, so that it links once.

mod architecture;
