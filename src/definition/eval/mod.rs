//! The expression language: values, types, conversions and functions.
//!
//! The rules are those of go-cty, which HCL and therefore bake files are written against: typed nulls, numbers of 512
//! bits, strings in NFC, conversions that never guess. Knows nothing of syntax or files. Start at [`value::Value`].

pub mod convert;
pub mod functions;
mod mismatch;
pub mod number;
mod quote;
mod scope;
mod set_order;
pub mod types;
pub mod unify;
pub mod value;

pub use convert::{ConvertError, convert};
pub use number::Number;
pub use types::Type;
pub use value::{Text, Value};
