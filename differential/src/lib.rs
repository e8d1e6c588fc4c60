//! Differential testing: random definitions, run by rbake and by buildx, and every difference explained or reported.
//!
//! [`make::case`] makes a [`Case`] of a seed, [`Programs::compare`] runs both programs on it, [`rules::explain`] knows the
//! differences that are meant, and [`shrink::shrink`] makes what is left small. Knows both programs from outside only: as
//! processes with files, arguments and an environment. Start at [`examine`].

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

/// What came of one case.
#[derive(Debug)]
pub enum Verdict {
    /// Both programs did the same.
    Same(Answers),
    /// They differ for known reasons.
    Explained(Vec<&'static rules::Rule>),
    /// They differ, and nobody knows why.
    Unexplained(Answers),
}

/// Runs both programs on a case and judges what they say.
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
