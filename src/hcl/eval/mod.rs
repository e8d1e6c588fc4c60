//! The evaluation of expressions.
//!
//! An [`Evaluator`] holds the state; what it does not know itself, it asks of a [`Namespace`]. Knows nothing of files or
//! of what attributes mean.

mod budget;
mod call;
pub(crate) mod evaluator;
pub(crate) mod expr;
pub(crate) mod namespace;
mod operators;
mod repeat;
pub(crate) mod scope;
pub(crate) mod traverse;
pub(crate) mod type_expr;
pub(crate) mod user_functions;

pub(crate) use evaluator::{Evaluator, Failed, Frame, SlotId, ValueResult};
pub(crate) use scope::Scope;
