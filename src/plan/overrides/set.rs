//! The overrides of one target, combined and applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AttributeChange, Op, TargetOverride, outputs};
use crate::definition::model::{
    Attest, CacheEntry, CacheKind, Export, List, Map, PolicyEntry, SecretEntry, SharedText,
    SshEntry, Target,
};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};

/// The overrides of one target. For lists, elements of repeated flags are collected, and the last operator (`=` or
/// `+=`) applies to all of them. For other keys, the last value counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct OverrideSet {
    context: Option<Spanned<SharedText>>,
    dockerfile: Option<Spanned<SharedText>>,
    stage: Option<Spanned<SharedText>>,
    call: Option<Spanned<SharedText>>,
    shm_size: Option<Spanned<SharedText>>,
    network: Option<Spanned<SharedText>>,
    no_cache: Option<Spanned<bool>>,
    pull: Option<Spanned<bool>>,
    push: Option<Spanned<bool>>,
    load: Option<Spanned<bool>>,
    args: BTreeMap<SharedText, Spanned<SharedText>>,
    labels: BTreeMap<SharedText, Spanned<SharedText>>,
    contexts: BTreeMap<SharedText, Spanned<SharedText>>,
    extra_hosts: BTreeMap<SharedText, Spanned<SharedText>>,
    resources: BTreeMap<SharedText, Spanned<SharedText>>,
    secret_sources: BTreeMap<SharedText, (Spanned<SecretEntry>, SharedText)>,
    tags: Elements<SharedText>,
    platforms: Elements<SharedText>,
    ulimits: Elements<SharedText>,
    no_cache_filter: Elements<SharedText>,
    annotations: Elements<SharedText>,
    entitlements: Elements<SharedText>,
    attest: Elements<Attest>,
    output: Elements<Export>,
    cache_from: Elements<CacheEntry>,
    cache_to: Elements<CacheEntry>,
    secrets: Elements<SecretEntry>,
    ssh: Elements<SshEntry>,
    policy: Elements<PolicyEntry>,
}

/// The elements collected for a list, with the operator. `None` if the list is not overridden.
#[derive(Debug, Clone)]
struct Elements<T>(Option<(Op, Vec<Spanned<T>>)>);

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Elements<T> {
    /// Adds elements. The operator applies to those that were added before, too.
    fn collect(&mut self, op: Op, elements: impl IntoIterator<Item = T>, span: Option<Span>) {
        let (last, collected) = self.0.get_or_insert((op, Vec::new()));
        *last = op;
        let elements = elements.into_iter();
        collected.extend(elements.map(|value| Spanned { value, span }));
    }

    /// The operator and the elements, or `None` if the list is not overridden.
    fn take(self) -> Option<(Op, List<T>)> {
        let (op, elements) = self.0?;
        Some((op, List::of(elements)))
    }
}

/// What overrides allow implicitly. A user who names a path on the command line does not have to allow it again
/// with `--allow`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// Paths that may be read.
    pub(crate) read: BTreeSet<SharedText>,
    /// Paths that may be written.
    pub(crate) write: BTreeSet<SharedText>,
    /// Whether build steps may use the host's network.
    pub(crate) network_host: bool,
    /// Whether privileged steps may run.
    pub(crate) security_insecure: bool,
}

impl OverrideSet {
    /// Adds one override. The order of calls is the order of the flags.
    pub(crate) fn add(&mut self, new: &TargetOverride) {
        let one = std::iter::once::<SharedText>;
        let span = new.span;
        match new.change.clone() {
            AttributeChange::Nothing => {}
            AttributeChange::Context(value) => self.context = Some(Spanned { value, span }),
            AttributeChange::Dockerfile(value) => self.dockerfile = Some(Spanned { value, span }),
            AttributeChange::Stage(value) => self.stage = Some(Spanned { value, span }),
            AttributeChange::Call(value) => self.call = Some(Spanned { value, span }),
            AttributeChange::ShmSize(value) => self.shm_size = Some(Spanned { value, span }),
            AttributeChange::Network(value) => self.network = Some(Spanned { value, span }),
            AttributeChange::NoCache(value) => self.no_cache = Some(Spanned { value, span }),
            AttributeChange::Pull(value) => self.pull = Some(Spanned { value, span }),
            AttributeChange::Push(value) => self.push = Some(Spanned { value, span }),
            AttributeChange::Load(value) => self.load = Some(Spanned { value, span }),
            AttributeChange::Arg { name, value } => {
                self.args.insert(name, Spanned { value, span });
            }
            AttributeChange::Label { name, value } => {
                self.labels.insert(name, Spanned { value, span });
            }
            AttributeChange::NamedContext { name, value } => {
                self.contexts.insert(name, Spanned { value, span });
            }
            AttributeChange::ExtraHost { name, value } => {
                self.extra_hosts.insert(name, Spanned { value, span });
            }
            AttributeChange::Resource { name, value } => {
                self.resources.insert(name, Spanned { value, span });
            }
            AttributeChange::SecretSource(secret) => {
                let flag = Arc::clone(&new.flag);
                let id = Arc::clone(&secret.id);
                let secret = Spanned {
                    value: secret,
                    span,
                };
                self.secret_sources.insert(id, (secret, flag));
            }
            AttributeChange::Tags(op, value) => self.tags.collect(op, one(value), span),
            AttributeChange::Platforms(op, value) => self.platforms.collect(op, one(value), span),
            AttributeChange::Ulimits(op, value) => self.ulimits.collect(op, one(value), span),
            AttributeChange::NoCacheFilter(op, value) => {
                self.no_cache_filter.collect(op, one(value), span);
            }
            AttributeChange::Annotation(value) => {
                self.annotations.collect(Op::Append, one(value), span);
            }
            AttributeChange::Entitlement(value) => {
                self.entitlements.collect(Op::Append, one(value), span);
            }
            AttributeChange::Attest(entry) => self.attest.collect(Op::Append, entry, span),
            AttributeChange::Output(op, entry) => self.output.collect(op, entry, span),
            AttributeChange::CacheFrom(op, entries) => self.cache_from.collect(op, entries, span),
            AttributeChange::CacheTo(op, entries) => self.cache_to.collect(op, entries, span),
            AttributeChange::Secrets(op, entry) => self.secrets.collect(op, entry, span),
            AttributeChange::Ssh(op, entry) => self.ssh.collect(op, entry, span),
            AttributeChange::Policy(op, entry) => self.policy.collect(op, Some(entry), span),
        }
    }

    /// Changes `target`, and adds to `grants` what the changes allow implicitly.
    ///
    /// The order of the flags does not matter here: outputs come before push and push before load; secrets come
    /// before their sources. Other changes do not depend on each other.
    pub(crate) fn apply(
        self,
        target: &mut Target,
        grants: &mut Grants,
        problems: &mut Diagnostics,
    ) {
        if let Some(network) = &self.network {
            grants.network_host |= &*network.value == "host";
        }
        set(&mut target.context, self.context);
        set(&mut target.dockerfile, self.dockerfile);
        set(&mut target.stage, self.stage);
        set(&mut target.call, self.call);
        set(&mut target.shm_size, self.shm_size);
        set(&mut target.network, self.network);
        set(&mut target.no_cache, self.no_cache);
        set(&mut target.pull, self.pull);
        insert_all(&mut target.args, self.args);
        insert_all(&mut target.labels, self.labels);
        insert_all(&mut target.contexts, self.contexts);
        insert_all(&mut target.extra_hosts, self.extra_hosts);
        for (name, value) in self.resources {
            let resources = Arc::make_mut(target.resources.get_or_insert_default());
            // The parser has already checked the name and the value.
            let _ = resources.set(&name, value);
        }
        change(&mut target.tags, self.tags);
        change(&mut target.platforms, self.platforms);
        change(&mut target.ulimits, self.ulimits);
        change(&mut target.no_cache_filter, self.no_cache_filter);
        change(&mut target.annotations, self.annotations);
        change(&mut target.policy, self.policy);
        if let Some((_, entries)) = self.attest.take() {
            target.attest.merge_attests(&entries);
        }
        if let Some((_, entries)) = self.entitlements.take() {
            for entry in &entries {
                grants.network_host |= &*entry.value == "network.host";
                grants.security_insecure |= &*entry.value == "security.insecure";
            }
            target.entitlements.append(&entries);
        }
        change_caches(
            &mut target.cache_from,
            self.cache_from,
            ("src", &mut grants.read),
        );
        change_caches(
            &mut target.cache_to,
            self.cache_to,
            ("dest", &mut grants.write),
        );
        change_ssh(&mut target.ssh, self.ssh, grants);
        let mut own = change_outputs(&mut target.output, self.output, grants);
        if let Some(on) = self.push {
            outputs::push(&mut target.output, &mut own, &on);
        }
        if let Some(on) = self.load {
            outputs::load(&mut target.output, &mut own, &on);
        }
        change_secrets(target, self.secrets, self.secret_sources, grants, problems);
    }
}

fn set<T>(attribute: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *attribute = value;
    }
}

fn insert_all(map: &mut Map, entries: BTreeMap<SharedText, Spanned<SharedText>>) {
    for (name, value) in entries {
        map.insert(name, value);
    }
}

fn change<T: Clone>(list: &mut List<T>, elements: Elements<T>) {
    match elements.take() {
        Some((Op::Append, elements)) => list.append(&elements),
        Some((Op::Replace, elements)) => *list = elements,
        None => {}
    }
}

/// Changes a list of caches. Then grants the paths of all its local caches, including those that the definition named.
fn change_caches(
    list: &mut List<CacheEntry>,
    elements: Elements<CacheEntry>,
    (attr, granted): (&str, &mut BTreeSet<SharedText>),
) {
    match elements.take() {
        Some((Op::Append, elements)) => list.merge_cache(&elements),
        Some((Op::Replace, elements)) => *list = elements,
        None => return,
    }
    let local = list.iter().filter(|entry| entry.kind == CacheKind::Local);
    granted.extend(local.filter_map(|entry| entry.attrs.get(attr).cloned()));
}

/// Changes the SSH entries. Then grants the paths of all of them, including those that the definition named.
fn change_ssh(list: &mut List<SshEntry>, elements: Elements<SshEntry>, grants: &mut Grants) {
    match elements.take() {
        Some((Op::Append, elements)) => list.merge_ssh(&elements),
        Some((Op::Replace, elements)) => *list = elements,
        None => return,
    }
    let paths = list.iter().flat_map(|entry| entry.paths.iter().cloned());
    grants.read.extend(paths);
}

/// Changes the outputs. Then grants the destinations of all of them, including those that the definition named.
/// Changes the outputs. Then grants the places of all of them, including those that the definition named. Returns the outputs that
/// decide what a push or a load adds: without those that are only added to what the target does.
fn change_outputs(
    list: &mut List<Export>,
    elements: Elements<Export>,
    grants: &mut Grants,
) -> List<Export> {
    let own = match elements.take() {
        Some((Op::Append, elements)) => {
            let own = list.clone();
            list.merge_exports(&elements);
            own
        }
        Some((Op::Replace, elements)) => {
            *list = elements;
            list.clone()
        }
        None => return list.clone(),
    };
    let dests = list.iter().filter_map(|export| export.dest.clone());
    grants.write.extend(dests);
    own
}

/// Changes the secrets, then the sources of declared secrets. Grants the files of the secrets that the command
/// line names; what counts is the source that they have in the end.
fn change_secrets(
    target: &mut Target,
    elements: Elements<SecretEntry>,
    sources: BTreeMap<SharedText, (Spanned<SecretEntry>, SharedText)>,
    grants: &mut Grants,
    problems: &mut Diagnostics,
) {
    let mut named: BTreeSet<SharedText> = sources.keys().cloned().collect();
    match elements.take() {
        Some((op, elements)) => {
            named.extend(elements.iter().map(|secret| Arc::clone(&secret.id)));
            match op {
                Op::Append => target.secret.merge_secrets(&elements),
                Op::Replace => target.secret = elements,
            }
        }
        None if sources.is_empty() => return,
        None => {}
    }
    for (id, (source, flag)) in sources {
        let declared = target.secret.iter().position(|secret| secret.id == id);
        match declared {
            Some(at) => target.secret.make_mut()[at] = source,
            None => problems.push(undeclared_secret(target, &id, &flag)),
        }
    }
    let files = target
        .secret
        .iter()
        .filter(|secret| named.contains(&secret.id))
        .filter_map(|secret| secret.src.clone());
    grants.read.extend(files);
}

fn undeclared_secret(target: &Target, id: &str, flag: &str) -> Diagnostic {
    let name = &target.name.value;
    let problem = Diagnostic::error(
        Class::Definition,
        "plan::undeclared-secret",
        format!("`{flag}`: target `{name}` declares no secret `{id}` whose source could be set"),
    )
    .help(format!(
        "declare one with `--set {name}.secrets+=id={id},…`"
    ));
    problem.did_you_mean(
        "a secret",
        id,
        target.secret.iter().map(|secret| &*secret.id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Environment;

    fn apply(target: &mut Target, texts: &[&str]) -> (Grants, Diagnostics) {
        let environment = Environment::of([], "/");
        let mut set = OverrideSet::default();
        for text in texts {
            set.add(&TargetOverride::parse(text, &environment).unwrap());
        }
        let (mut grants, mut problems) = (Grants::default(), Diagnostics::default());
        set.apply(target, &mut grants, &mut problems);
        target.normalise();
        (grants, problems)
    }

    fn target() -> Target {
        Target::empty(Spanned::without_span("t".parse().unwrap()))
    }

    fn texts(list: &List<SharedText>) -> Vec<&str> {
        list.iter().map(|text| &*text.value).collect()
    }

    #[test]
    fn values_for_lists_are_collected_and_the_last_operator_applies() {
        let mut target = target();
        target.platforms = List::of(vec![Spanned::without_span("x".into())]);
        let mut appended = target.clone();
        apply(&mut target, &["t.platform+=a", "t.platform=b"]);
        assert_eq!(texts(&target.platforms), ["a", "b"]);
        apply(&mut appended, &["t.platform=a", "t.platform+=b"]);
        assert_eq!(texts(&appended.platforms), ["x", "a", "b"]);
    }

    #[test]
    fn outputs_are_set_before_push_in_any_order_of_flags() {
        for flags in [
            ["t.push=true", "t.output=type=image,name=x"],
            ["t.output=type=image,name=x", "t.push=true"],
        ] {
            let mut target = target();
            apply(&mut target, &flags);
            assert_eq!(target.output.as_slice()[0].attr("push"), Some("true"));
            assert_eq!(target.output.len(), 1);
        }
    }

    #[test]
    fn network_ulimits_and_filters_are_set() {
        let mut target = target();
        target.ulimits = List::of(vec![Spanned::without_span("core=1".into())]);
        let (grants, _) = apply(
            &mut target,
            &[
                "t.network=host",
                "t.ulimits+=nofile=5",
                "t.no-cache-filter=a",
            ],
        );
        assert_eq!(target.network.as_ref().map(|n| &*n.value), Some("host"));
        assert_eq!(texts(&target.entitlements), ["network.host"]);
        assert_eq!(texts(&target.ulimits), ["core=1", "nofile=5"]);
        assert_eq!(texts(&target.no_cache_filter), ["a"]);
        assert!(grants.network_host);
    }

    #[test]
    fn changes_do_not_reach_other_targets_with_the_same_list() {
        let mut first = target();
        first.output = List::of(vec![Spanned::without_span(
            Export::from_text("type=image,name=x").unwrap(),
        )]);
        let second = first.clone();
        apply(&mut first, &["t.push=true"]);
        assert_eq!(second.output.as_slice()[0].attr("push"), None);
    }

    #[test]
    fn new_sources_of_secrets_replace_old_ones_and_only_final_paths_are_granted() {
        let mut target = target();
        let (grants, problems) = apply(
            &mut target,
            &[
                "t.secrets=id=A,src=/tmp/a",
                "t.secrets+=id=B,src=/tmp/b",
                "t.secret.A=env=X",
            ],
        );
        assert!(!problems.has_errors());
        assert_eq!(target.secret.as_slice()[0].env.as_deref(), Some("X"));
        assert_eq!(grants.read, ["/tmp/b".into()].into());
        let (_, problems) = apply(&mut target, &["t.secret.C=env=X"]);
        assert_eq!(problems.0[0].code, "plan::undeclared-secret");
    }

    #[test]
    fn paths_on_the_command_line_are_granted() {
        let (grants, _) = apply(
            &mut target(),
            &[
                "t.output=type=local,dest=/o",
                "t.cache-to=type=local,dest=/c",
                "t.cache-from=type=local,src=/f",
                "t.ssh=k=/k1,/k2",
                "t.entitlements=security.insecure",
                "t.context=/nope",
            ],
        );
        assert_eq!(grants.write, ["/c".into(), "/o".into()].into());
        assert_eq!(
            grants.read,
            ["/f".into(), "/k1".into(), "/k2".into()].into()
        );
        assert!(grants.security_insecure && !grants.network_host);
    }

    #[test]
    fn empty_values_clear_or_do_nothing() {
        let mut target = target();
        target.attest = List::of(vec![Spanned::without_span(
            Attest::from_text("type=sbom").unwrap(),
        )]);
        target.output = List::of(vec![Spanned::without_span(
            Export::from_text("out").unwrap(),
        )]);
        apply(&mut target, &["t.attest=", "t.output=", "t.tags="]);
        assert_eq!((target.attest.len(), target.output.len()), (1, 0));
        assert!(target.tags.is_empty());
    }
}
