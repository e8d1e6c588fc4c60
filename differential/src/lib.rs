//! Differential testing: random definitions, run by rbake and by buildx, and every difference explained or reported.
//!
//! [`make::case`] makes a [`Case`] from a seed, [`Programs::compare`] runs both programs on it, [`rules::explain`] knows the
//! intended differences, and [`shrink::shrink`] reduces a case with another one. The crate sees both programs from outside
//! only: as processes with files, arguments and an environment. Start at [`examine`].

mod case;
pub mod make;
mod programs;
mod random;
pub mod rules;
mod shrink;

pub use case::Case;
pub use programs::{Answer, Answers, Difference, Error, Programs};
pub use random::Random;
pub use shrink::shrink;

/// The result of one case.
#[derive(Debug)]
pub enum Verdict {
    /// Both programs did the same.
    Same(Answers),
    /// They differ for known reasons.
    Explained(Vec<&'static rules::Rule>),
    /// They differ, and no rule explains it.
    Unexplained(Answers),
}

/// Runs both programs on a case and judges their answers.
pub fn examine(programs: &Programs, case: &Case) -> Result<Verdict, Error> {
    let answers = programs.compare(case)?;
    if answers.difference().is_none() {
        return Ok(Verdict::Same(answers));
    }
    Ok(match rules::explain(programs, case, &answers)? {
        Some(rules) => Verdict::Explained(rules),
        None => Verdict::Unexplained(answers),
    })
}
