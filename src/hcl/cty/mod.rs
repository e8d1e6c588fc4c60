//! Values, types and conversions, by the rules of go-cty.
//!
//! Typed nulls, numbers of 512 bits, strings in NFC, conversions that never guess. Knows nothing of expressions. Start
//! at [`Value`].

pub(crate) mod characters;
pub(crate) mod convert;
mod mismatch;
pub(crate) mod number;
pub(crate) mod set_order;
pub(crate) mod types;
pub(crate) mod unify;
pub(crate) mod value;

pub(crate) use number::Number;
pub(crate) use types::Type;
pub(crate) use value::{Text, Value};
