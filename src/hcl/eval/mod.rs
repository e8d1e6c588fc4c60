//! The evaluation of expressions.
//!
//! An [`Evaluator`] holds the state; what it does not know itself, it asks of a [`Namespace`]. Knows nothing of files or
//! of what attributes mean.

mod budget;
mod call;
pub mod evaluator;
pub mod expr;
pub mod namespace;
mod operators;
mod repeat;
pub mod scope;
pub mod traverse;
pub mod type_expr;
pub mod user_functions;

pub use evaluator::{Evaluator, Failed, Frame, SlotId, ValueResult};
pub use namespace::Namespace;
pub use scope::Scope;
