//! Values, types and conversions, by the rules of go-cty.
//!
//! As in go-cty, nulls have types, number literals have 512 bits, strings are in Unicode's normalization form C,
//! and conversions do not guess: `"yes"` is not a bool. This module knows nothing of expressions. Start at
//! [`Value`].

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
