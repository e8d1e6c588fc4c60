//! From a plan to images: the one module that knows both the plan and the engine.

mod locate;
mod lower;
mod node;
mod scheduler;
mod secrets;
mod sources;
#[cfg(test)]
mod testing;
mod vcs;
