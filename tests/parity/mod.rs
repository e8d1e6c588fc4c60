//! Random definitions against buildx. The cases, with what buildx answered to each, are a binary of their own: see `main.rs`.

mod random;
