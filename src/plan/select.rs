//! Finds the targets and groups that the arguments of the command line select.
//!
//! An argument is the name of a group or target, or a pattern of names. Groups are followed to their targets. The
//! groups on the way are part of the printed plan, together with a group `default` that lists what the user asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::TargetPattern;
use crate::definition::model::{Definition, SharedText};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned, names_there_are};
use crate::types::hash::{HashMap, HashSet};
use crate::types::{GroupName, TargetName};

/// The targets and groups that the arguments select.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The names that the user asked for, with patterns replaced by the matching names, each once.
    pub(super) requested: Vec<SharedText>,
    /// The names of the targets to build, each with the place where it is first mentioned. They may not exist;
    /// that is checked later.
    pub(super) targets: Vec<Spanned<SharedText>>,
    /// The groups to print.
    pub(super) groups: BTreeMap<GroupName, PlannedGroup>,
}

/// A group of a plan, for printing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlannedGroup {
    /// What the group is for, if the definition says so.
    pub(crate) description: Option<SharedText>,
    /// The group's members. `None` if the definition does not set them.
    pub(crate) members: Option<Vec<SharedText>>,
}

/// Finds what `words` select. No words mean `default`.
pub(super) fn select(
    definition: &Definition,
    words: &[String],
    problems: &mut Diagnostics,
) -> Selection {
    let mut selection = Selection {
        requested: requested(definition, words, problems),
        ..Selection::default()
    };
    let mut walk = Walk {
        definition,
        passed: HashMap::default(),
        seen: HashSet::default(),
        selection: &mut selection,
        problems,
    };
    for name in walk.selection.requested.clone() {
        walk.passed.clear();
        walk.follow(&name);
    }
    add_default(&mut selection);
    selection
}

/// The names that `words` select, each once. Names of targets that do not exist are kept; patterns that match
/// nothing are reported.
fn requested(
    definition: &Definition,
    words: &[String],
    problems: &mut Diagnostics,
) -> Vec<SharedText> {
    if words.is_empty() {
        return vec!["default".into()];
    }
    let mut names: Vec<SharedText> = Vec::with_capacity(words.len());
    for word in words {
        // Names of Compose services may contain dots, but target names must not. Accept both spellings.
        let name = word.replace('.', "_");
        if !TargetPattern::is_pattern(&name) {
            // A target name never contains `/`, so this is probably a path. Keep it as written for the error message.
            names.push(if word.contains('/') {
                word.as_str().into()
            } else {
                name.into()
            });
            continue;
        }
        let before = names.len();
        if let Ok(pattern) = TargetPattern::parse(&name) {
            let groups = definition.groups.keys().map(GroupName::as_str);
            let targets = definition.targets.keys().map(TargetName::as_str);
            let matches = groups.chain(targets).filter(|name| pattern.matches(name));
            names.extend(matches.map(SharedText::from));
        }
        if names.len() == before {
            problems.push(
                Diagnostic::error(
                    Class::Definition,
                    "plan::unmatched-pattern",
                    format!("no target or group matches `{word}`"),
                )
                .note(known_names(definition)),
            );
        }
    }
    let mut seen = HashSet::default();
    names.retain(|name| seen.insert(Arc::clone(name)));
    names
}

/// One line that lists the existing names, for messages.
pub(super) fn known_names(definition: &Definition) -> String {
    let groups = definition.groups.keys().map(GroupName::as_str);
    let targets = definition.targets.keys().map(TargetName::as_str);
    names_there_are(groups.chain(targets))
        .unwrap_or_else(|| "the definition has no targets".to_owned())
}

/// Whether a group that was visited is still being followed or is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Open,
    Done,
}

struct Walk<'a> {
    definition: &'a Definition,
    passed: HashMap<SharedText, Passed>,
    seen: HashSet<SharedText>,
    selection: &'a mut Selection,
    problems: &'a mut Diagnostics,
}

impl Walk<'_> {
    /// Follows a group depth first, with members in order. Uses a stack instead of recursion, because a definition
    /// can nest groups arbitrarily deep.
    fn follow(&mut self, name: &SharedText) {
        let start = Spanned::without_span(Arc::clone(name));
        let Some(first) = self.enter(&start, None) else {
            return;
        };
        let mut open = vec![(first, 0)];
        while let Some((name, next)) = open.last_mut() {
            let group = Arc::clone(&self.definition.groups[&**name]);
            let Some(member) = group.members.as_slice().get(*next) else {
                self.passed.insert(Arc::clone(name), Passed::Done);
                open.pop();
                continue;
            };
            *next += 1;
            let from = Arc::clone(name);
            if let Some(group) = self.enter(member, Some(&from)) {
                open.push((group, 0));
            }
        }
    }

    /// Returns the group that `member` names, if it must be followed now. Records targets, and reports cycles.
    fn enter(&mut self, member: &Spanned<SharedText>, from: Option<&str>) -> Option<SharedText> {
        let name = &member.value;
        let Some((group_name, group)) = self.definition.groups.get_key_value(&**name) else {
            self.target(member);
            return None;
        };
        match self.passed.get(name) {
            // A group that contains its own name means the target with that name.
            Some(Passed::Open) if self.definition.targets.contains_key(&**name) => {
                self.target(member);
                return None;
            }
            Some(Passed::Open) => {
                self.problems.push(cycle(name, member.span, from));
                return None;
            }
            Some(Passed::Done) => return None,
            None => {}
        }
        self.passed.insert(Arc::clone(name), Passed::Open);
        let planned = PlannedGroup {
            description: group
                .description
                .as_ref()
                .map(|text| Arc::clone(&text.value)),
            members: group.members.is_set().then(|| {
                let members = group.members.iter();
                members.map(|member| Arc::clone(&member.value)).collect()
            }),
        };
        self.selection.groups.insert(group_name.clone(), planned);
        // A group without members inside another group means the target with that name, if it exists.
        let empty = group.members.as_slice().is_empty();
        if empty && from.is_some() && self.definition.targets.contains_key(&**name) {
            self.target(member);
        }
        Some(Arc::clone(name))
    }

    /// Records a target to build, once.
    fn target(&mut self, member: &Spanned<SharedText>) {
        if self.seen.insert(Arc::clone(&member.value)) {
            self.selection.targets.push(member.clone());
        }
    }
}

fn cycle(name: &str, span: Option<Span>, from: Option<&str>) -> Diagnostic {
    let message = match from {
        Some(from) if from != name => format!("group `{name}` contains itself through `{from}`"),
        _ => format!("group `{name}` contains itself"),
    };
    let problem = Diagnostic::error(Class::Definition, "plan::group-cycle", message)
        .note(format!(
            "there is no target `{name}` that this name could mean"
        ))
        .help("remove one of the groups from the `targets` of the other");
    problem.at(span, "")
}

/// Adds what the user asked for to the printed group `default`, sorted. buildx leaves out the name `default`
/// itself if that group already exists at that moment, which depends on the order of the arguments.
fn add_default(selection: &mut Selection) {
    let Ok(default) = "default".parse::<GroupName>() else {
        return;
    };
    for name in &selection.requested {
        if &**name == "default" && selection.groups.contains_key(&default) {
            continue;
        }
        let group = selection.groups.entry(default.clone()).or_default();
        group.members.get_or_insert_default().push(Arc::clone(name));
    }
    if let Some(members) = selection
        .groups
        .get_mut(&default)
        .and_then(|group| group.members.as_mut())
    {
        members.sort();
        members.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::{Group, List, Target};

    fn definition(groups: &[(&str, &[&str])], targets: &[&str]) -> Definition {
        let text = |text: &&str| Spanned::without_span(SharedText::from(*text));
        let mut definition = Definition::default();
        for (name, members) in groups {
            let name: GroupName = name.parse().unwrap();
            let group = Group {
                description: None,
                members: List::of(members.iter().map(text).collect()),
            };
            definition.groups.insert(name, Arc::new(group));
        }
        for name in targets {
            let name: TargetName = name.parse().unwrap();
            let target = Target::empty(Spanned::without_span(name.clone()));
            definition.targets.insert(name, Arc::new(target));
        }
        definition
    }

    fn run(definition: &Definition, words: &[&str]) -> (Vec<String>, Vec<String>, Diagnostics) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let mut problems = Diagnostics::default();
        let selection = select(definition, &words, &mut problems);
        let targets = selection.targets.iter().map(|t| t.to_string()).collect();
        let groups = selection
            .groups
            .iter()
            .map(|(name, group)| {
                let members = group.members.clone().unwrap_or_default();
                format!("{name}={}", members.join(","))
            })
            .collect();
        (targets, groups, problems)
    }

    #[test]
    fn groups_are_followed_depth_first() {
        let definition = definition(
            &[("g", &["b", "h", "a"]), ("h", &["c", "b"])],
            &["a", "b", "c"],
        );
        let (targets, groups, problems) = run(&definition, &["g"]);
        assert_eq!(targets, ["b", "c", "a"]);
        assert_eq!(groups, ["default=g", "g=b,h,a", "h=c,b"]);
        assert!(!problems.has_errors());
    }

    #[test]
    fn requested_names_become_the_group_default_in_order() {
        let definition = definition(&[], &["a", "b", "default"]);
        assert_eq!(run(&definition, &["b", "a", "b"]).1, ["default=a,b"]);
        assert_eq!(run(&definition, &["default", "a"]).1, ["default=a,default"]);
        // As in buildx: when the name `default` is added here, the group already exists, because `a` has been
        // added to it.
        assert_eq!(run(&definition, &["a", "default"]).1, ["default=a"]);
        assert_eq!(run(&definition, &[]).0, ["default"]);
    }

    #[test]
    fn patterns_match_groups_and_targets() {
        let definition = definition(&[("g", &["a"])], &["a", "ab", "_c"]);
        let (targets, groups, _) = run(&definition, &["*"]);
        assert_eq!(targets, ["a", "ab", "_c"]);
        assert_eq!(groups, ["default=_c,a,ab,g", "g=a"]);
        for word in ["z*", "[a"] {
            let (_, _, problems) = run(&definition, &[word]);
            assert_eq!(problems.0[0].code, "plan::unmatched-pattern");
        }
    }

    #[test]
    fn a_group_may_contain_a_target_of_its_own_name() {
        let definition = definition(&[("image", &["foo", "image"])], &["foo", "image"]);
        let (targets, _, problems) = run(&definition, &["image"]);
        assert_eq!(targets, ["foo", "image"]);
        assert!(!problems.has_errors());
    }

    #[test]
    fn cycles_are_reported() {
        let definition = definition(&[("a", &["b"]), ("b", &["a", "x"])], &["x"]);
        let (targets, _, problems) = run(&definition, &["a"]);
        assert_eq!(targets, ["x"]);
        assert_eq!(problems.0[0].code, "plan::group-cycle");
    }

    #[test]
    fn dots_become_underscores() {
        let definition = definition(&[], &["web_app"]);
        assert_eq!(run(&definition, &["web.app"]).0, ["web_app"]);
    }

    #[test]
    fn deeply_nested_groups_are_expanded_quickly() {
        let names: Vec<String> = (0..40).map(|level| format!("g{level}")).collect();
        let mut levels: Vec<(&str, Vec<&str>)> = Vec::new();
        for level in 0..39 {
            let next = names[level + 1].as_str();
            levels.push((&names[level], vec![next, next, "x"]));
        }
        levels.push((&names[39], vec!["x"]));
        let groups: Vec<(&str, &[&str])> = levels
            .iter()
            .map(|(name, members)| (*name, members.as_slice()))
            .collect();
        let definition = definition(&groups, &["x"]);
        assert_eq!(run(&definition, &["g0"]).0, ["x"]);
    }
}
