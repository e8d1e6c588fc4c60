//! Conversations with a scripted daemon: what real ones cannot be made to say.

mod session;
mod solve;
