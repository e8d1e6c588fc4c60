//! Evaluates expressions.
//!
//! An [`Evaluator`] holds the state of one evaluation. For names that it does not know itself, it asks a
//! [`namespace::Namespace`]. This module knows nothing of files or of the meaning of attributes.

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
