//! Inheritance: merges each target onto the targets that it inherits from, and applies overrides.
//!
//! The order is: the targets in `inherits` from left to right, each fully resolved with its own overrides; then
//! the target itself; then its overrides. An ancestor that is reached twice is merged twice, so a later branch
//! restores its values. If targets inherit from each other in a cycle, a target that is still being resolved is
//! skipped, as in buildx.

use std::sync::Arc;

use super::overrides::{Grants, OverrideSet, TargetOverride};
use crate::definition::model::{Definition, SharedText, Target};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::types::TargetName;
use crate::types::hash::{HashMap, HashSet, RandomState};

/// The most policies of one target. Policies are not deduplicated, so their number doubles with each diamond of
/// inheritance. No real definition comes near this limit.
const MOST_POLICIES: usize = 10_000;

// Inheritance can produce much more than the definition contains: a chain of targets that each add something grows
// with the square of its length, and a target can inherit a large one many times. The error message and
// docs/limits.md also contain these numbers.

/// The most list elements and map entries that all targets together may own after inheritance.
const MOST_ELEMENTS: usize = 4_000_000;
/// The most list elements and map entries that merging may process. Each merged ancestor counts as one more.
const MOST_MERGED: usize = 50_000_000;

/// The overrides of each target, in the order they were given.
pub(super) type OverridesByTarget<'a> = HashMap<&'a TargetName, Vec<&'a TargetOverride>>;

/// Resolves inheritance, and keeps each resolved target.
pub(super) struct InheritanceResolver<'a> {
    definition: &'a Definition,
    overrides: OverridesByTarget<'a>,
    resolved: HashMap<TargetName, Arc<Target>>,
    reported: HashSet<(TargetName, SharedText)>,
    /// What is left of `MOST_ELEMENTS`. `merged` is what is left of `MOST_MERGED`.
    elements: usize,
    merged: usize,
    exhausted: bool,
    /// Empty between calls. A field only so that its memory is reused.
    visits: Visits,
    /// What the overrides applied so far allow implicitly.
    pub(super) grants: Grants,
    /// The problems found so far.
    pub(super) problems: Diagnostics,
}

impl std::fmt::Debug for InheritanceResolver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("resolved", &self.resolved.len())
            .finish_non_exhaustive()
    }
}

/// A target whose ancestors are being resolved.
struct Open<'a> {
    target: &'a Arc<Target>,
    next: usize,
    merged: Target,
    /// Whether an ancestor was skipped because of a cycle. The result then depends on the target at which
    /// resolution began.
    partial: bool,
}

type Visits = HashMap<TargetName, Visit>;

/// The state of a target in the current resolution.
enum Visit {
    Open,
    Done(Arc<Target>),
}

impl<'a> InheritanceResolver<'a> {
    pub(super) fn new(definition: &'a Definition, overrides: OverridesByTarget<'a>) -> Self {
        Self {
            definition,
            overrides,
            resolved: HashMap::with_capacity_and_hasher(
                definition.targets.len(),
                RandomState::default(),
            ),
            reported: HashSet::default(),
            elements: MOST_ELEMENTS,
            merged: MOST_MERGED,
            exhausted: false,
            visits: Visits::default(),
            grants: Grants::default(),
            problems: Diagnostics::default(),
        }
    }

    /// Returns the target called `name` with everything it inherits. `None` if there is no such target.
    ///
    /// Ancestors that do not exist are reported and left out.
    pub(super) fn resolve(&mut self, name: &str) -> Option<Arc<Target>> {
        if let Some(done) = self.resolved.get(name) {
            return Some(Arc::clone(done));
        }
        let root = self.definition.targets.get(name)?;
        // The common case, without a stack: all parents are already resolved.
        let parents = root.inherits.as_slice();
        if parents
            .iter()
            .all(|parent| self.resolved.contains_key(&*parent.value))
        {
            return Some(self.resolve_heir(root));
        }
        // As in buildx, a result that depends on the starting point (because of a cycle) is only reused within one
        // resolution.
        let mut visits = std::mem::take(&mut self.visits);
        visits.clear();
        let target = self.resolve_from(root, &mut visits);
        self.visits = visits;
        target
    }

    /// Resolves a target whose parents are all resolved.
    fn resolve_heir(&mut self, target: &'a Arc<Target>) -> Arc<Target> {
        let mut merged = Target::empty(target.name.clone());
        for parent in target.inherits.as_slice() {
            if let Some(done) = self.resolved.get(&*parent.value).map(Arc::clone) {
                self.inherit(&mut merged, &done);
            }
        }
        let target = self.finish(Open {
            target,
            next: 0,
            merged,
            partial: false,
        });
        self.resolved
            .insert(target.name.value.clone(), Arc::clone(&target));
        target
    }

    /// Resolves `root` and all its ancestors, depth first. Uses a stack instead of recursion, because chains can
    /// be long.
    fn resolve_from(&mut self, root: &'a Arc<Target>, visits: &mut Visits) -> Option<Arc<Target>> {
        let mut stack = vec![open(root, visits)];
        loop {
            // A limit was exceeded and reported. Stop here: there may be far too many ancestors to process.
            if self.exhausted {
                return Some(Arc::clone(root));
            }
            let top = stack.last_mut()?;
            if let Some(parent) = top.target.inherits.as_slice().get(top.next) {
                top.next += 1;
                if let Some(parent) = self.step(top, parent, visits) {
                    stack.push(open(parent, visits));
                }
                continue;
            }
            let done = stack.pop()?;
            let partial = done.partial;
            let target = self.finish(done);
            let name = target.name.value.clone();
            if partial {
                visits.insert(name, Visit::Done(Arc::clone(&target)));
            } else {
                visits.remove(&name);
                self.resolved.insert(name, Arc::clone(&target));
            }
            match stack.last_mut() {
                None => return Some(target),
                Some(heir) => {
                    self.inherit(&mut heir.merged, &target);
                    heir.partial |= partial;
                }
            }
        }
    }

    /// Merges one ancestor into `top`. If the ancestor is not resolved yet, returns it; the caller resolves it and
    /// then merges it.
    fn step(
        &mut self,
        top: &mut Open<'a>,
        parent: &Spanned<SharedText>,
        visits: &Visits,
    ) -> Option<&'a Arc<Target>> {
        let name: &str = &parent.value;
        if let Some(done) = self.resolved.get(name).map(Arc::clone) {
            self.inherit(&mut top.merged, &done);
            return None;
        }
        match visits.get(name) {
            Some(Visit::Open) => {
                top.partial = true;
                return None;
            }
            Some(Visit::Done(done)) => {
                self.inherit(&mut top.merged, done);
                top.partial = true;
                return None;
            }
            None => {}
        }
        let found = self.definition.targets.get(name);
        if found.is_none() {
            let heir = &top.target.name;
            if self
                .reported
                .insert((heir.value.clone(), Arc::clone(&parent.value)))
            {
                self.problems
                    .push(unknown_parent(self.definition, heir, parent));
            }
        }
        found
    }

    /// Merges `target` onto what `heir` has inherited so far, unless that exceeds a limit.
    fn inherit(&mut self, heir: &mut Target, target: &Target) {
        let (_, elements) = target.elements();
        let (_, before) = heir.elements();
        match self.merged.checked_sub(elements + 1) {
            Some(left) if elements + before <= self.elements => {
                self.merged = left;
                heir.merge(target);
            }
            _ => self.exhaust(&heir.name.value),
        }
    }

    /// Reports that a limit is exceeded. Only the first call reports.
    fn exhaust(&mut self, heir: &TargetName) {
        if !std::mem::replace(&mut self.exhausted, true) {
            self.problems.push(
                Diagnostic::error(
                    Class::Definition,
                    "plan::limit",
                    format!(
                        "too much is inherited: target `{heir}` and those before it have more than 4,000,000 elements and \
                         entries, or merging them goes through more than 50,000,000"
                    ),
                )
                .help("this is far more than definitions need; look for a long chain or a network of targets"),
            );
        }
    }

    /// Merges the target's own attributes onto what it has inherited, and applies its overrides.
    fn finish(&mut self, open: Open<'_>) -> Arc<Target> {
        let mut target = open.merged;
        target.merge(open.target);
        target.inherits.unset();
        let name = target.name.value.clone();
        if target.policy.len() > MOST_POLICIES {
            self.problems.push(Diagnostic::error(
                Class::Definition,
                "plan::too-many-policies",
                format!("target `{name}` inherits more than {MOST_POLICIES} policies"),
            ));
            target.policy.unset();
        }
        if let Some(overrides) = self.overrides.get(&name) {
            let mut set = OverrideSet::default();
            for change in overrides {
                set.add(change);
            }
            set.apply(&mut target, &mut self.grants, &mut self.problems);
        }
        target.normalise();
        // Count only elements that the target does not share with its ancestors, because only those take memory.
        let (own, _) = target.elements();
        self.elements = self.elements.saturating_sub(own);
        Arc::new(target)
    }
}

fn open<'a>(target: &'a Arc<Target>, visits: &mut Visits) -> Open<'a> {
    visits.insert(target.name.value.clone(), Visit::Open);
    Open {
        target,
        next: 0,
        merged: Target::empty(target.name.clone()),
        partial: false,
    }
}

fn unknown_parent(
    definition: &Definition,
    heir: &Spanned<TargetName>,
    parent: &Spanned<SharedText>,
) -> Diagnostic {
    let wanted = &*parent.value;
    let mut problem = Diagnostic::error(
        Class::Definition,
        "plan::unknown-target",
        format!(
            "target `{wanted}`, which `{}` inherits from, is not defined",
            heir.value
        ),
    )
    .at(parent.span, "no such target");
    if definition.groups.contains_key(wanted) {
        problem = problem.note(format!(
            "`{wanted}` is a group, and targets can inherit only from targets"
        ));
    }
    definition.explain_missing(wanted, problem).did_you_mean(
        "a target",
        wanted,
        definition.targets.keys().map(TargetName::as_str),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::{List, PolicyEntry};

    fn text(text: &str) -> Spanned<SharedText> {
        Spanned::without_span(text.into())
    }

    /// The name, parents and arguments of a target.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

    fn definition(targets: &[Row<'_>]) -> Definition {
        let mut definition = Definition::default();
        for (name, inherits, args) in targets {
            let name: TargetName = name.parse().unwrap();
            let mut target = Target::empty(Spanned::without_span(name.clone()));
            target.inherits = List::of(inherits.iter().map(|name| text(name)).collect());
            for (key, value) in *args {
                target.args.insert((*key).into(), text(value));
            }
            definition.targets.insert(name, Arc::new(target));
        }
        definition
    }

    fn args(resolver: &mut InheritanceResolver<'_>, name: &str) -> String {
        let target = resolver.resolve(name).unwrap();
        let args = target.args.iter();
        args.map(|(key, value)| format!("{key}={}", value.value))
            .collect::<Vec<_>>()
            .join(",")
    }

    #[test]
    fn a_later_parent_restores_the_values_of_a_shared_ancestor() {
        let definition = definition(&[
            ("a", &[], &[("bar", "1")]),
            ("b", &["a"], &[("bar", "2"), ("b", "x")]),
            ("c", &["a"], &[("c", "x")]),
            ("d", &["b", "c"], &[]),
        ]);
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        assert_eq!(args(&mut resolver, "d"), "b=x,bar=1,c=x");
    }

    #[test]
    fn cycles_of_inheritance_end_at_the_target_that_is_resolved() {
        let definition = definition(&[
            ("a", &["b"], &[("v", "a"), ("a", "1")]),
            ("b", &["a"], &[("v", "b"), ("b", "1")]),
            ("self", &["self"], &[("v", "s")]),
        ]);
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        assert_eq!(args(&mut resolver, "a"), "a=1,b=1,v=a");
        assert_eq!(args(&mut resolver, "b"), "a=1,b=1,v=b");
        assert_eq!(args(&mut resolver, "self"), "v=s");
    }

    #[test]
    fn missing_ancestors_are_reported_once() {
        let definition = definition(&[
            ("base", &["bas"], &[]),
            ("one", &["base"], &[]),
            ("two", &["base", "nope"], &[]),
        ]);
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        assert!(resolver.resolve("one").is_some() && resolver.resolve("two").is_some());
        assert!(resolver.resolve("three").is_none());
        let messages: Vec<_> = resolver.problems.0.iter().map(|p| &*p.message).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(resolver.problems.0[0].help[0].contains("`base`"));
    }

    #[test]
    fn chains_and_diamonds_of_any_depth() {
        let names: Vec<String> = (0..20_000).map(|level| format!("t{level}")).collect();
        let mut definition = definition(&[]);
        for (level, name) in names.iter().enumerate() {
            let name: TargetName = name.parse().unwrap();
            let mut target = Target::empty(Spanned::without_span(name.clone()));
            if let Some(parent) = level.checked_sub(1) {
                // The same parent twice makes a diamond at every level.
                let parent = text(&names[parent]);
                target.inherits = List::of(vec![parent.clone(), parent]);
            }
            target.args.insert("level".into(), text(&level.to_string()));
            target.annotations = List::of(vec![text("k=v")]);
            definition.targets.insert(name, Arc::new(target));
        }
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        assert_eq!(args(&mut resolver, "t19999"), "level=19999");
        assert_eq!(resolver.resolve("t19999").unwrap().annotations.len(), 1);
    }

    #[test]
    fn the_number_of_policies_is_limited() {
        let mut definition = definition(&[]);
        for level in 0..64 {
            let name: TargetName = format!("t{level}").parse().unwrap();
            let mut target = Target::empty(Spanned::without_span(name.clone()));
            if level > 0 {
                let parent = text(&format!("t{}", level - 1));
                target.inherits = List::of(vec![parent.clone(), parent]);
            }
            let policy = PolicyEntry::from_text("strict=true").unwrap();
            target.policy = List::of(vec![Spanned::without_span(policy)]);
            definition.targets.insert(name, Arc::new(target));
        }
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        assert!(resolver.resolve("t63").is_some());
        assert_eq!(resolver.problems.0[0].code, "plan::too-many-policies");
    }

    /// A chain of targets. Each adds one argument and inherits those of all before it.
    fn chain(length: usize) -> Definition {
        let mut definition = Definition::default();
        for n in 0..length {
            let name: TargetName = format!("t{n}").parse().unwrap();
            let mut target = Target::empty(Spanned::without_span(name.clone()));
            target.args.insert(format!("A{n}").into(), text("1"));
            if n > 0 {
                target.inherits.push(text(&format!("t{}", n - 1)));
            }
            definition.targets.insert(name, Arc::new(target));
        }
        definition
    }

    #[test]
    fn the_elements_of_a_chain_are_limited() {
        let definition = chain(100);
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        resolver.elements = 5_050;
        assert_eq!(resolver.resolve("t99").unwrap().args.len(), 100);
        assert!(!resolver.problems.has_errors());

        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        resolver.elements = 1_000;
        resolver.resolve("t99");
        resolver.resolve("t98");
        let codes: Vec<_> = resolver.problems.0.iter().map(|p| p.code).collect();
        assert_eq!(codes, ["plan::limit"]);
    }

    #[test]
    fn the_work_of_inheritance_is_limited() {
        let definition = chain(100);
        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        resolver.merged = 5_100;
        resolver.resolve("t99");
        assert!(!resolver.problems.has_errors());

        let mut resolver = InheritanceResolver::new(&definition, HashMap::default());
        resolver.merged = 1_000;
        resolver.resolve("t99");
        assert_eq!(resolver.problems.0[0].code, "plan::limit");
    }
}
