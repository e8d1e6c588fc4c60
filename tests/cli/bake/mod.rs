//! `rbake` and `rbake bake`: plans, lists, and input that rbake refuses before any work.

mod gates;
mod limits;
mod paths;
mod preflight;
mod print;
mod privileges;
mod refused;
mod secrets;
mod unsendable;
