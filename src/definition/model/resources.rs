//! `resources`: memory and CPU limits for the steps of a build.

use super::SharedText;
use super::entry::EntryError;
use crate::diag::Spanned;

/// Memory and CPU limits for the steps of a build. Sizes are kept as written and are parsed when a plan is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// The memory limit, such as `1g`.
    pub(crate) memory: Option<Spanned<SharedText>>,
    /// The limit of memory and swap together. `-1` means no limit.
    pub(crate) memory_swap: Option<Spanned<SharedText>>,
    /// The relative weight of CPU time.
    pub(crate) cpu_shares: Option<Spanned<i64>>,
    /// The period of the CPU quota, in microseconds.
    pub(crate) cpu_period: Option<Spanned<i64>>,
    /// The CPU time per period, in microseconds.
    pub(crate) cpu_quota: Option<Spanned<i64>>,
    /// The CPUs that steps may use, such as `0-2`.
    pub(crate) cpuset_cpus: Option<Spanned<SharedText>>,
    /// The memory nodes that steps may use, such as `0`.
    pub(crate) cpuset_mems: Option<Spanned<SharedText>>,
}

/// The names of the limits, in the order in which plans print them.
pub(crate) const FIELDS: &[&str] = &[
    "memory",
    "memory-swap",
    "cpu-shares",
    "cpu-period",
    "cpu-quota",
    "cpuset-cpus",
    "cpuset-mems",
];

impl Resources {
    /// Replaces each limit that `later` sets.
    pub(crate) fn merge(&mut self, later: &Self) {
        fn take<T: Clone>(own: &mut Option<T>, later: Option<&T>) {
            if let Some(later) = later {
                *own = Some(later.clone());
            }
        }
        take(&mut self.memory, later.memory.as_ref());
        take(&mut self.memory_swap, later.memory_swap.as_ref());
        take(&mut self.cpu_shares, later.cpu_shares.as_ref());
        take(&mut self.cpu_period, later.cpu_period.as_ref());
        take(&mut self.cpu_quota, later.cpu_quota.as_ref());
        take(&mut self.cpuset_cpus, later.cpuset_cpus.as_ref());
        take(&mut self.cpuset_mems, later.cpuset_mems.as_ref());
    }

    /// Sets the limit called `name`. Fails if the name is unknown or a number is required.
    pub(crate) fn set(&mut self, name: &str, value: Spanned<SharedText>) -> Result<(), EntryError> {
        let integer = |value: &Spanned<SharedText>| {
            let number = value.parse().map_err(|_| EntryError::NoInteger {
                key: name.to_owned(),
                value: value.value.to_string(),
            })?;
            Ok(value.clone().map(|_| number))
        };
        match name {
            "memory" => self.memory = Some(value),
            "memory-swap" => self.memory_swap = Some(value),
            "cpu-shares" => self.cpu_shares = Some(integer(&value)?),
            "cpu-period" => self.cpu_period = Some(integer(&value)?),
            "cpu-quota" => self.cpu_quota = Some(integer(&value)?),
            "cpuset-cpus" => self.cpuset_cpus = Some(value),
            "cpuset-mems" => self.cpuset_mems = Some(value),
            _ => {
                return Err(EntryError::UnknownKey {
                    key: name.to_owned(),
                    known: FIELDS,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Spanned<SharedText> {
        Spanned::without_span(text.into())
    }

    #[test]
    fn fields_merge_one_by_one() {
        let mut base = Resources::default();
        base.set("memory", text("1g")).unwrap();
        base.set("cpu-shares", text("5")).unwrap();
        let mut later = Resources::default();
        later.set("memory", text("2g")).unwrap();
        base.merge(&later);
        assert_eq!(base.memory, Some(text("2g")));
        assert_eq!(base.cpu_shares.map(|shares| shares.value), Some(5));
    }

    #[test]
    fn unknown_and_malformed_fields_are_errors() {
        let mut resources = Resources::default();
        assert!(resources.set("memroy", text("1g")).is_err());
        assert!(resources.set("cpu-quota", text("1.5")).is_err());
        assert!(
            FIELDS
                .iter()
                .all(|field| resources.set(field, text("1")).is_ok())
        );
    }
}
