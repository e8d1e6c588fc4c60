//! Parses attributes whose text must be a number, a size, a platform or an annotation.
//!
//! Errors here are found without a builder, so `--print` reports them as well.

use std::fmt::Display;

use super::model::{AnnotationEntry, ResourceLimits};
use super::syntax::{Annotation, AnnotationLevel};
use crate::definition::model::{Resources, SharedText, Target};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::types::Platform;
use crate::types::size::parse_size;
use crate::types::ulimit::{Ulimit, UlimitError};

/// The parsed attributes.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) platforms: Vec<Platform>,
    pub(super) shm_size: u64,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) resources: ResourceLimits,
    pub(super) annotations: Vec<AnnotationEntry>,
}

/// Parses the attributes of `target`. Adds all errors to `problems`.
pub(super) fn read(target: &Target, problems: &mut Diagnostics) -> Details {
    let mut reader = Reader { target, problems };
    Details {
        platforms: reader.platforms(),
        shm_size: reader.shm_size(),
        ulimits: reader.ulimits(),
        resources: target
            .resources
            .as_ref()
            .map(|resources| reader.resources(resources))
            .unwrap_or_default(),
        annotations: reader.annotations(),
    }
}

struct Reader<'a> {
    target: &'a Target,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn problem(
        &self,
        attribute: &str,
        at: &Spanned<SharedText>,
        reason: impl Display,
    ) -> Diagnostic {
        let name = &self.target.name.value;
        let problem = Diagnostic::error(
            Class::Definition,
            "plan::invalid-value",
            format!("unsuitable value for `{attribute}` of target `{name}`: {reason}"),
        );
        problem.at(at.span, "")
    }

    fn report(&mut self, attribute: &str, at: &Spanned<SharedText>, reason: impl Display) {
        let problem = self.problem(attribute, at, reason);
        self.problems.push(problem);
    }

    fn platforms(&mut self) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for text in &self.target.platforms {
            for part in text.split(',') {
                match part.parse() {
                    Ok(platform) => platforms.push(platform),
                    Err(error) => self.report("platforms", text, error),
                }
            }
        }
        platforms
    }

    fn shm_size(&mut self) -> u64 {
        match &self.target.shm_size {
            Some(text) => self.size("shm-size", text),
            None => 0,
        }
    }

    /// A size in bytes. Reports an error and returns 0 if it is invalid.
    fn size(&mut self, attribute: &str, text: &Spanned<SharedText>) -> u64 {
        match parse_size(text) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report(attribute, text, error);
                0
            }
        }
    }

    /// The process limits sorted by name. If a name occurs more than once, the last entry counts.
    fn ulimits(&mut self) -> Vec<Ulimit> {
        let mut ulimits = std::collections::BTreeMap::new();
        for text in &self.target.ulimits {
            match Ulimit::parse(text) {
                Ok(ulimit) => drop(ulimits.insert(ulimit.name, ulimit)),
                Err(error) => {
                    let mut problem = self.problem("ulimits", text, &error);
                    if let UlimitError::Name(name) = &error {
                        problem = problem.did_you_mean("a limit", name, Ulimit::NAMES);
                    }
                    self.problems.push(problem);
                }
            }
        }
        ulimits.into_values().collect()
    }

    fn resources(&mut self, resources: &Resources) -> ResourceLimits {
        let trimmed = |text: &Option<Spanned<SharedText>>| {
            let trimmed = text.as_ref().map(|text| text.value.trim().into());
            trimmed.unwrap_or_default()
        };
        let number = |number: Option<&Spanned<i64>>| number.map_or(0, |number| number.value);
        let mut sized = |attribute: &str, text: &Option<Spanned<SharedText>>| match text {
            Some(text) => {
                let text = text.clone().map(|text| SharedText::from(text.trim()));
                self.size(attribute, &text)
            }
            None => 0,
        };
        let unlimited = |text: &Option<Spanned<SharedText>>| {
            text.as_ref().is_some_and(|text| text.value.trim() == "-1")
        };
        let memory_swap = if unlimited(&resources.memory_swap) {
            -1
        } else {
            // `parse_size` returns sizes below 2^63, so the conversion does not fail.
            i64::try_from(sized("resources.memory-swap", &resources.memory_swap)).unwrap_or(0)
        };
        ResourceLimits {
            memory: sized("resources.memory", &resources.memory),
            memory_swap,
            cpu_shares: number(resources.cpu_shares.as_ref()),
            cpu_period: number(resources.cpu_period.as_ref()),
            cpu_quota: number(resources.cpu_quota.as_ref()),
            cpuset_cpus: trimmed(&resources.cpuset_cpus),
            cpuset_mems: trimmed(&resources.cpuset_mems),
        }
    }

    fn annotations(&mut self) -> Vec<AnnotationEntry> {
        let mut annotations = Vec::new();
        for text in &self.target.annotations {
            match Annotation::parse(text) {
                Ok(parsed) => annotations.push(AnnotationEntry {
                    text: text.clone(),
                    annotations: parsed,
                }),
                Err(error) => {
                    use super::syntax::AnnotationError::{Platform, UnknownType};
                    let mut problem = match &error {
                        Platform(platform) => self.problem("annotations", text, platform),
                        error => self.problem("annotations", text, error),
                    };
                    if let UnknownType(name) = &error {
                        problem = problem.did_you_mean("a type", name, AnnotationLevel::NAMES);
                    }
                    self.problems.push(problem);
                }
            }
        }
        annotations
    }
}
