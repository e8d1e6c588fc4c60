//! A target: its attributes, and how two definitions of a target are merged.

use std::sync::Arc;

use super::{
    Attest, CacheEntry, Export, List, Map, PolicyEntry, Resources, SecretEntry, SharedText,
    SshEntry,
};
use crate::diag::{Diagnostic, Spanned};
use crate::types::TargetName;

/// A target. Attributes that were not given are `None` or unset. Copies of a target share lists and maps until one
/// is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The target's name, and where it is written.
    pub(crate) name: Spanned<TargetName>,
    /// The description that `--list` prints.
    pub(crate) description: Option<Spanned<SharedText>>,
    /// The targets that this one inherits attributes from, later ones taking precedence.
    pub(crate) inherits: List<SharedText>,
    /// Annotations of the image, as `[type[platform]:]key=value`.
    pub(crate) annotations: List<SharedText>,
    /// Attestations to attach to the image, such as provenance and SBOM.
    pub(crate) attest: List<Attest>,
    /// The build context.
    pub(crate) context: Option<Spanned<SharedText>>,
    /// The build context to use if none is set, if that is not the working directory (see
    /// `BUILDX_BAKE_FILE_RELATIVE_PATHS`).
    pub(crate) implicit_context: Option<SharedText>,
    /// Additional build contexts, by the name that the Dockerfile uses.
    pub(crate) contexts: Map,
    /// The path of the Dockerfile: relative to the context, unless it is absolute or starts with `cwd://`.
    pub(crate) dockerfile: Option<Spanned<SharedText>>,
    /// The text of the Dockerfile, if it is not a file.
    pub(crate) dockerfile_inline: Option<Spanned<SharedText>>,
    /// Build arguments.
    pub(crate) args: Map,
    /// Labels of the image.
    pub(crate) labels: Map,
    /// Image names.
    pub(crate) tags: List<SharedText>,
    /// Where cache is imported from.
    pub(crate) cache_from: List<CacheEntry>,
    /// Where cache is exported to.
    pub(crate) cache_to: List<CacheEntry>,
    /// The stage of the Dockerfile to build. The attribute is called `target`.
    pub(crate) stage: Option<Spanned<SharedText>>,
    /// Secrets for the build steps.
    pub(crate) secret: List<SecretEntry>,
    /// SSH agents and keys for the build steps.
    pub(crate) ssh: List<SshEntry>,
    /// The platforms to build for.
    pub(crate) platforms: List<SharedText>,
    /// How the result is exported.
    pub(crate) output: List<Export>,
    /// Whether to look for newer versions of the base images.
    pub(crate) pull: Option<Spanned<bool>>,
    /// Whether to build without using the cache.
    pub(crate) no_cache: Option<Spanned<bool>>,
    /// The network mode of the build steps, such as `none` or `host`.
    pub(crate) network: Option<Spanned<SharedText>>,
    /// The stages to build without using the cache.
    pub(crate) no_cache_filter: List<SharedText>,
    /// The size of `/dev/shm`.
    pub(crate) shm_size: Option<Spanned<SharedText>>,
    /// Process limits, as `name=soft[:hard]`.
    pub(crate) ulimits: List<SharedText>,
    /// Memory and CPU limits.
    pub(crate) resources: Option<Arc<Resources>>,
    /// A frontend method to call instead of building, such as `check` or `outline`.
    pub(crate) call: Option<Spanned<SharedText>>,
    /// The entitlements (privileges) that the build needs.
    pub(crate) entitlements: List<SharedText>,
    /// Additional host names for the build steps, with their addresses.
    pub(crate) extra_hosts: Map,
    /// Rules for which sources the build may use.
    pub(crate) policy: List<PolicyEntry>,
    /// Problems in files and texts that only matter if this target or one that inherits from it is built. Reported
    /// only if such a target is part of the plan.
    pub(crate) deferred: Vec<Diagnostic>,
}

fn take<T: Clone>(own: &mut Option<T>, later: Option<&T>) {
    if let Some(later) = later {
        *own = Some(later.clone());
    }
}

impl Target {
    /// A target with no attributes set.
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

    /// Merges `later` onto this target, attribute by attribute, by the rules of [`super::super::schema`].
    ///
    /// Used both for a further block of the same target and for targets named in `inherits`. The name is kept.
    pub(crate) fn merge(&mut self, later: &Self) {
        // Destructure without `..`, so that the compiler reports a new field that is forgotten here.
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

    /// How many elements the lists and maps of this target have: those that it shares with no other target, and
    /// all. Used to measure memory.
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

    /// Removes duplicates and empty entries, and adds the entitlement `network.host` if the network is `host`.
    ///
    /// buildx does this to each target after its overrides and before others inherit from it. rbake must do it at
    /// the same point, because two results depend on it: the order of lists, and that a target which inherits the
    /// entitlement keeps it even if it changes the network.
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
    fn heirs_keep_the_privilege_of_an_inherited_host_network() {
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
    fn changes_after_a_merge_do_not_affect_the_other_targets() {
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
