//! Values, types and conversions, by the rules of go-cty.
//!
//! Typed nulls, numbers of 512 bits, strings in NFC, conversions that never guess. Knows nothing of expressions. Start
//! at [`Value`].

pub mod characters;
pub mod convert;
mod mismatch;
pub mod number;
pub mod set_order;
pub mod types;
pub mod unify;
pub mod value;

pub use convert::{ConvertError, convert};
pub use number::Number;
pub use types::Type;
pub use value::{Text, Value};
