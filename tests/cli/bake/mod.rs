//! `rbake` and `rbake bake`: plans, lists, and what is refused before any work.

mod limits;
mod paths;
mod print;
mod privileges;
mod refused;
mod secrets;
mod unsendable;
