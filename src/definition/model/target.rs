//! One target: its attributes and how two definitions of it become one.

use std::sync::Arc;

use super::{
    Attest, CacheEntry, Export, List, Map, PolicyEntry, Resources, SecretEntry, SharedText,
    SshEntry,
};
use crate::diag::{Diagnostic, Spanned};
use crate::types::TargetName;

/// A named build. Attributes that are not set are `None` or unset; copies share what they do not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name and where that is written.
    pub(crate) name: Spanned<TargetName>,
    /// What it is for.
    pub(crate) description: Option<Spanned<SharedText>>,
    /// Targets whose attributes it takes over.
    pub(crate) inherits: List<SharedText>,
    /// `[type[platform]:]key=value` for the image's manifests.
    pub(crate) annotations: List<SharedText>,
    /// Statements about the build to attach.
    pub(crate) attest: List<Attest>,
    /// The main source tree.
    pub(crate) context: Option<Spanned<SharedText>>,
    /// The main source tree where none is set, if that is not the working directory.
    pub(crate) implicit_context: Option<SharedText>,
    /// Further source trees, by the name the Dockerfile uses.
    pub(crate) contexts: Map,
    /// The Dockerfile's path, below the context unless it is absolute or `cwd://`.
    pub(crate) dockerfile: Option<Spanned<SharedText>>,
    /// The Dockerfile's text.
    pub(crate) dockerfile_inline: Option<Spanned<SharedText>>,
    /// Build arguments.
    pub(crate) args: Map,
    /// Labels of the image.
    pub(crate) labels: Map,
    /// Names of the image.
    pub(crate) tags: List<SharedText>,
    /// Where cache is imported from.
    pub(crate) cache_from: List<CacheEntry>,
    /// Where cache is exported to.
    pub(crate) cache_to: List<CacheEntry>,
    /// The stage of the Dockerfile to build; the attribute is called `target`.
    pub(crate) stage: Option<Spanned<SharedText>>,
    /// Secrets for steps.
    pub(crate) secret: List<SecretEntry>,
    /// SSH agents and keys for steps.
    pub(crate) ssh: List<SshEntry>,
    /// Platforms to build for.
    pub(crate) platforms: List<SharedText>,
    /// What to make of the result.
    pub(crate) output: List<Export>,
    /// Whether newer images are looked for.
    pub(crate) pull: Option<Spanned<bool>>,
    /// Whether the cache is left aside.
    pub(crate) no_cache: Option<Spanned<bool>>,
    /// The network of steps.
    pub(crate) network: Option<Spanned<SharedText>>,
    /// Stages for which the cache is left aside.
    pub(crate) no_cache_filter: List<SharedText>,
    /// Size of `/dev/shm`.
    pub(crate) shm_size: Option<Spanned<SharedText>>,
    /// Limits of processes, `name=soft[:hard]`.
    pub(crate) ulimits: List<SharedText>,
    /// Limits of memory and CPU.
    pub(crate) resources: Option<Arc<Resources>>,
    /// A question to the frontend instead of a build.
    pub(crate) call: Option<Spanned<SharedText>>,
    /// Privileges the build asks for.
    pub(crate) entitlements: List<SharedText>,
    /// Names for addresses in steps.
    pub(crate) extra_hosts: Map,
    /// Rules for sources.
    pub(crate) policy: List<PolicyEntry>,
    /// What is wrong or doubtful with files that only this target and its heirs need: told where they are part of a plan.
    pub(crate) deferred: Vec<Diagnostic>,
}

fn take<T: Clone>(own: &mut Option<T>, later: Option<&T>) {
    if let Some(later) = later {
        *own = Some(later.clone());
    }
}

impl Target {
    /// A target that sets nothing.
    pub(crate) fn empty(name: Spanned<TargetName>) -> Self {
        Self {
            name,
            description: None,
            inherits: List::default(),
            annotations: List::default(),
            attest: List::default(),
            context: None,
            implicit_context: None,
            contexts: Map::default(),
            dockerfile: None,
            dockerfile_inline: None,
            args: Map::default(),
            labels: Map::default(),
            tags: List::default(),
            cache_from: List::default(),
            cache_to: List::default(),
            stage: None,
            secret: List::default(),
            ssh: List::default(),
            platforms: List::default(),
            output: List::default(),
            pull: None,
            no_cache: None,
            network: None,
            no_cache_filter: List::default(),
            shm_size: None,
            ulimits: List::default(),
            resources: None,
            call: None,
            entitlements: List::default(),
            extra_hosts: Map::default(),
            policy: List::default(),
            deferred: Vec::new(),
        }
    }

    /// Lays `later` over this target, attribute by attribute, by the rules of [`super::super::schema`].
    ///
    /// Another block of the same target and the targets named in `inherits` are merged alike. The name stays.
    pub(crate) fn merge(&mut self, later: &Self) {
        // Every field is named, so that a new one cannot be forgotten here.
        let Self {
            name: _,
            description,
            inherits,
            annotations,
            attest,
            context,
            implicit_context,
            contexts,
            dockerfile,
            dockerfile_inline,
            args,
            labels,
            tags,
            cache_from,
            cache_to,
            stage,
            secret,
            ssh,
            platforms,
            output,
            pull,
            no_cache,
            network,
            no_cache_filter,
            shm_size,
            ulimits,
            resources,
            call,
            entitlements,
            extra_hosts,
            policy,
            deferred,
        } = later;
        take(
            &mut self.description,
            description.as_ref().filter(|text| !text.is_empty()),
        );
        self.inherits.append(inherits);
        self.annotations.append(annotations);
        if attest.is_set() {
            self.attest.merge_attests(attest);
        }
        take(&mut self.context, context.as_ref());
        take(&mut self.implicit_context, implicit_context.as_ref());
        self.contexts.merge(contexts);
        take(&mut self.dockerfile, dockerfile.as_ref());
        take(&mut self.dockerfile_inline, dockerfile_inline.as_ref());
        self.args.merge(args);
        self.labels.merge(labels);
        self.tags.replace(tags);
        if cache_from.is_set() {
            self.cache_from.merge_cache(cache_from);
        }
        self.cache_to.replace(cache_to);
        take(&mut self.stage, stage.as_ref());
        if secret.is_set() {
            self.secret.merge_secrets(secret);
        }
        if ssh.is_set() {
            self.ssh.merge_ssh(ssh);
        }
        self.platforms.replace(platforms);
        self.output.replace(output);
        take(&mut self.pull, pull.as_ref());
        take(&mut self.no_cache, no_cache.as_ref());
        take(&mut self.network, network.as_ref());
        self.no_cache_filter.append(no_cache_filter);
        take(&mut self.shm_size, shm_size.as_ref());
        self.ulimits.append(ulimits);
        if let Some(later) = resources {
            match &mut self.resources {
                Some(own) => Arc::make_mut(own).merge(later),
                None => self.resources = Some(Arc::clone(later)),
            }
        }
        take(&mut self.call, call.as_ref());
        self.entitlements.append(entitlements);
        self.extra_hosts.merge(extra_hosts);
        self.policy.append(policy);
        for problem in deferred {
            if !self.deferred.contains(problem) {
                self.deferred.push(problem.clone());
            }
        }
    }

    /// How many elements and entries its lists and maps have: those that no other target shares, and all of them.
    pub(crate) fn elements(&self) -> (usize, usize) {
        let (mut own, mut whole) = (0, 0);
        let mut add = |elements: (usize, usize)| {
            own += elements.0;
            whole += elements.1;
        };
        for map in [&self.contexts, &self.args, &self.labels, &self.extra_hosts] {
            add(map.elements());
        }
        add(self.annotations.elements());
        add(self.tags.elements());
        add(self.platforms.elements());
        add(self.no_cache_filter.elements());
        add(self.ulimits.elements());
        add(self.entitlements.elements());
        add(self.attest.elements());
        add(self.cache_from.elements());
        add(self.cache_to.elements());
        add(self.secret.elements());
        add(self.ssh.elements());
        add(self.output.elements());
        add(self.policy.elements());
        (own, whole)
    }

    /// Drops duplicates and entries that say nothing, and adds the privilege that the host's network needs.
    ///
    /// buildx does this to each target after its overrides, before others inherit from it, and so does rbake: the order
    /// of lists depends on it, and a privilege stays with targets that inherit it though they change the network.
    pub(crate) fn normalise(&mut self) {
        self.annotations.dedupe_texts();
        self.attest.dedupe_by_key(|attest| attest.kind.clone());
        self.tags.dedupe_texts();
        self.secret.dedupe_by_key(|secret| secret.id.clone());
        self.ssh.dedupe_by_key(|ssh| ssh.id.clone());
        self.platforms.dedupe_texts();
        self.cache_from.dedupe_swapping();
        self.cache_to.dedupe_swapping();
        self.output.dedupe_swapping();
        self.no_cache_filter.dedupe_texts();
        self.ulimits.dedupe_texts();
        if let Some(network) = &self.network
            && &*network.value == "host"
        {
            let span = network.span;
            self.entitlements.push(Spanned {
                value: "network.host".into(),
                span,
            });
        }
        self.entitlements.dedupe_texts();
        self.contexts.drop_empty_values();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::empty(Spanned::without_span("t".parse().unwrap()))
    }

    fn text(text: &str) -> Spanned<SharedText> {
        Spanned::without_span(text.into())
    }

    #[test]
    fn empty_lists_replace_and_empty_descriptions_do_not() {
        let mut base = target();
        base.tags = List::of(vec![text("a")]);
        base.description = Some(text("kept"));
        let mut later = target();
        later.tags = List::of(Vec::new());
        later.description = Some(text(""));
        base.merge(&later);
        assert!(base.tags.is_set() && base.tags.is_empty());
        assert_eq!(base.description, Some(text("kept")));
    }

    #[test]
    fn host_network_leaves_its_privilege_with_heirs() {
        let mut base = target();
        base.network = Some(text("host"));
        base.normalise();
        let mut heir = target();
        heir.merge(&base);
        let mut own = target();
        own.network = Some(text("none"));
        heir.merge(&own);
        heir.normalise();
        assert_eq!(heir.entitlements.as_slice(), [text("network.host")]);
    }

    #[test]
    fn merging_shares_what_it_does_not_change() {
        let mut base = target();
        base.args.insert("A".into(), text("1"));
        let mut heir = target();
        heir.merge(&base);
        let mut other = heir.clone();
        other.args.insert("A".into(), text("2"));
        assert_eq!(base.args.get("A"), Some(&text("1")));
        assert_eq!(heir.args, base.args);
    }
}
