//! Compares random definitions with buildx. The cases, with buildx's answer to each, are a separate binary: see `main.rs`.

mod random;
