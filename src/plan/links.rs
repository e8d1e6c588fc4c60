//! Contexts that are the results of other targets.
//!
//! `contexts = { base = "target:base" }` adds the target `base` to the plan. If the user did not ask for `base`
//! itself, it exports nothing: its outputs become `cacheonly`. The entitlements of a target are also required of
//! the targets that use it.

use std::sync::Arc;

use super::graph::{TargetGraph, TargetLink};
use super::inherit::InheritanceResolver;
use super::model::TargetRole;
use crate::definition::model::{Definition, Export, ExportKind, List, SharedText, Target};
use crate::diag::{Class, Diagnostic, Spanned};
use crate::types::TargetName;
use crate::types::hash::{HashMap, IndexMap, RandomState};

/// The targets of a plan while links are followed.
pub(super) type Targets = IndexMap<TargetName, (Arc<Target>, TargetRole)>;

/// Adds all targets that those in `targets` link to, directly or indirectly. Returns the links.
pub(super) fn follow<'d>(
    definition: &'d Definition,
    resolver: &mut InheritanceResolver<'d>,
    targets: &mut Targets,
) -> TargetGraph {
    let count = targets.len();
    let mut walk = Walk {
        definition,
        resolver,
        targets,
        states: HashMap::with_capacity_and_hasher(count, RandomState::default()),
        graph: TargetGraph::with_capacity(count),
    };
    let roots: Vec<TargetName> = walk.targets.keys().cloned().collect();
    for root in roots {
        walk.visit(root);
    }
    walk.graph
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

struct Walk<'a, 'd> {
    definition: &'d Definition,
    resolver: &'a mut InheritanceResolver<'d>,
    targets: &'a mut Targets,
    states: HashMap<TargetName, State>,
    graph: TargetGraph,
}

/// A target whose links are being followed. `next` is the index of the next link.
struct Open {
    name: TargetName,
    links: Vec<(SharedText, Spanned<SharedText>)>,
    next: usize,
    followed: Vec<TargetLink>,
}

impl Walk<'_, '_> {
    /// Follows the links of `root` depth first, and adds it and the targets that it uses to the graph. Uses a
    /// stack instead of recursion, because chains can be long.
    fn visit(&mut self, root: TargetName) {
        let Some(first) = self.open(root) else { return };
        let mut stack = vec![first];
        while let Some(top) = stack.last_mut() {
            let Some((context, wanted)) = top.links.get(top.next).cloned() else {
                let Some(done) = stack.pop() else { return };
                self.states.insert(done.name.clone(), State::Done);
                self.graph.add(done.name, done.followed);
                continue;
            };
            let user = top.name.clone();
            let Some(to) = self.target_of(&user, &wanted) else {
                top.next += 1;
                continue;
            };
            match self.states.get(&to) {
                Some(State::Open) => {
                    let path = stack.iter().map(|open| &open.name);
                    let problem = cycle(path, &to, &wanted);
                    self.resolver.problems.push(problem);
                    if let Some(top) = stack.last_mut() {
                        top.next += 1;
                    }
                }
                Some(State::Done) => {
                    top.next += 1;
                    top.followed.push(TargetLink {
                        context,
                        to: to.clone(),
                    });
                    self.join(&user, &to, &wanted);
                }
                // First follow the links of that target. `next` is unchanged, so this link is handled again
                // afterwards.
                None => stack.extend(self.open(to)),
            }
        }
    }

    /// Starts with a target. `None` if it was visited before.
    fn open(&mut self, name: TargetName) -> Option<Open> {
        if self.states.contains_key(&name) {
            return None;
        }
        let (target, _) = self.targets.get(&name)?;
        let links = target
            .contexts
            .iter()
            .filter_map(|(context, value)| {
                let wanted: SharedText = value.strip_prefix("target:")?.into();
                let span = value.span;
                Some((
                    Arc::clone(context),
                    Spanned {
                        value: wanted,
                        span,
                    },
                ))
            })
            .collect();
        self.states.insert(name.clone(), State::Open);
        Some(Open {
            name,
            links,
            next: 0,
            followed: Vec::new(),
        })
    }

    /// Returns the target that a link refers to, after adding it to the plan. Reports an error and returns `None`
    /// if it does not exist.
    fn target_of(&mut self, user: &TargetName, wanted: &Spanned<SharedText>) -> Option<TargetName> {
        if let Some((name, _)) = self.targets.get_key_value(&*wanted.value) {
            return Some(name.clone());
        }
        let Some(resolved) = self.resolver.resolve(&wanted.value) else {
            let problem = unknown(self.definition, user, wanted);
            self.resolver.problems.push(problem);
            return None;
        };
        let mut target = Target::clone(&resolved);
        let cache_only = Export::plain(ExportKind::CacheOnly);
        target.output = List::of(vec![Spanned::without_span(cache_only)]);
        let name = target.name.value.clone();
        let role = TargetRole::Linked { by: user.clone() };
        self.targets.insert(name.clone(), (Arc::new(target), role));
        Some(name)
    }

    /// Checks the platforms of a link, and adds the entitlements of the used target to its user.
    fn join(&mut self, user: &TargetName, used: &TargetName, link: &Spanned<SharedText>) {
        let (Some((target, _)), Some((source, _))) =
            (self.targets.get(user), self.targets.get(used))
        else {
            return;
        };
        if let Some(problem) = platform_mismatch(target, source, link) {
            self.resolver.problems.push(problem);
        }
        let missing: Vec<Spanned<SharedText>> = source
            .entitlements
            .iter()
            .filter(|wanted| !target.entitlements.iter().any(|own| own == *wanted))
            .cloned()
            .collect();
        if !missing.is_empty()
            && let Some((target, _)) = self.targets.get_mut(user)
        {
            Arc::make_mut(target)
                .entitlements
                .append(&List::of(missing));
        }
    }
}

fn labelled(problem: Diagnostic, link: &Spanned<SharedText>) -> Diagnostic {
    problem.at(link.span, "")
}

/// Reports platforms that `user` needs but `used` does not build. A target with several platforms needs each of
/// them from the targets it uses, unless those build for only one, which then serves all.
fn platform_mismatch(
    user: &Target,
    used: &Target,
    link: &Spanned<SharedText>,
) -> Option<Diagnostic> {
    if user.platforms.len() < 2 || used.platforms.len() < 2 {
        return None;
    }
    let missing: Vec<String> = user
        .platforms
        .iter()
        .filter(|platform| !used.platforms.iter().any(|offered| offered == *platform))
        .map(|platform| format!("`{}`", platform.value))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let (user, used) = (&user.name.value, &used.name.value);
    let problem = Diagnostic::error(
        Class::Definition,
        "plan::link-platforms",
        format!(
            "target `{user}` needs {} from `{used}`, which is not built for that",
            missing.join(", ")
        ),
    )
    .help(format!("add the platforms to `{used}`"));
    Some(labelled(problem, link))
}

fn unknown(definition: &Definition, user: &TargetName, wanted: &Spanned<SharedText>) -> Diagnostic {
    let name = &*wanted.value;
    let mut problem = labelled(
        Diagnostic::error(
            Class::Definition,
            "plan::unknown-target",
            format!("target `{name}`, which `{user}` takes a context from, is not defined"),
        ),
        wanted,
    );
    if definition.groups.contains_key(name) {
        problem = problem.note(format!(
            "`{name}` is a group, and a context is the result of one target"
        ));
    }
    definition.explain_missing(name, problem).did_you_mean(
        "a target",
        name,
        definition.targets.keys().map(TargetName::as_str),
    )
}

fn cycle<'a>(
    path: impl Iterator<Item = &'a TargetName>,
    to: &'a TargetName,
    link: &Spanned<SharedText>,
) -> Diagnostic {
    let around: Vec<String> = path
        .skip_while(|name| *name != to)
        .chain(std::iter::once(to))
        .map(|name| format!("`{name}`"))
        .collect();
    let message = if around.len() == 2 {
        format!("target `{to}` takes a context from itself")
    } else {
        format!("target `{to}` depends on itself through its contexts")
    };
    let problem = Diagnostic::error(Class::Definition, "plan::target-cycle", message);
    labelled(problem, link)
        .note(format!("the cycle is {}", around.join(" → ")))
        .help("remove one of these contexts, or move what both need to a target of its own")
}
