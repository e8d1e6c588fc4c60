//! The expression language: values, types, conversions and functions.
//!
//! The rules are those of go-cty, which HCL and therefore bake files are written against: typed nulls, numbers of 512
//! bits, strings in NFC, conversions that never guess. Knows nothing of files or of what attributes mean. Start at
//! [`value::Value`]; expressions are evaluated in `expr`, with the state in `evaluator`.

mod budget;
mod call;
mod characters;
pub mod convert;
pub(super) mod evaluator;
pub(super) mod expr;
pub mod functions;
pub mod json;
mod mismatch;
pub mod number;
mod operators;
mod repeat;
pub(super) mod scope;
mod set_order;
pub(super) mod traverse;
pub(super) mod type_expr;
pub mod types;
pub mod unify;
pub mod value;

pub use convert::{ConvertError, convert};
pub use number::Number;
pub use types::Type;
pub use value::{Text, Value};
