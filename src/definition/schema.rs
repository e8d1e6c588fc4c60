//! The attributes of targets, in one table. Decoding, merging, `--set` and the documentation use it.
//!
//! The merge column describes what [`super::model::Target::merge`] does; a test compares the two. The set column
//! says how `--set` can change the attribute. Start at [`ATTRIBUTES`].

/// One attribute: a row of the table.
#[derive(Debug, Clone, Copy)]
pub struct AttributeSpec {
    /// The attribute.
    pub(crate) id: TargetAttribute,
    /// The attribute's name in definitions and in printed plans.
    pub name: &'static str,
    /// The type of its values.
    pub kind: AttributeKind,
    /// How a later definition of a target changes an earlier one.
    pub merge: Merge,
    /// How `--set` changes it, or `None` if it cannot.
    pub set: Option<SetSpec>,
    /// A description in one line.
    pub doc: &'static str,
}

/// All attributes of targets, in the order in which plans print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TargetAttribute {
    Description,
    Inherits,
    Annotations,
    Attest,
    Context,
    Contexts,
    Dockerfile,
    DockerfileInline,
    Args,
    Labels,
    Tags,
    CacheFrom,
    CacheTo,
    Stage,
    Secret,
    Ssh,
    Platforms,
    Output,
    Pull,
    NoCache,
    Network,
    NoCacheFilter,
    ShmSize,
    Ulimits,
    Resources,
    Call,
    Entitlements,
    ExtraHosts,
    Policy,
}

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKind {
    /// A string that must not be null.
    RequiredText,
    /// A string.
    Text,
    /// A boolean.
    Bool,
    /// A list of strings.
    Texts,
    /// A map of strings. Entries with a null value are left out.
    NullableMap,
    /// A map of strings.
    Map,
    /// A list of strings or objects. It must not be null.
    Entries,
    /// An object. It must not be null.
    Object,
}

/// How a later definition of a target changes an attribute of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The later value replaces the earlier one if it is set. An empty list is set.
    Replace,
    /// The later value replaces the earlier one unless it is empty.
    ReplaceUnlessEmpty,
    /// The later entries are added; for equal keys the later value counts.
    PerKey,
    /// The later elements are appended.
    Append,
    /// The later elements are appended, and duplicates are removed.
    AppendUnique,
    /// The later elements are appended. Of elements with an equal value of this field, the last one counts.
    ByKey(&'static str),
}

/// How `--set` changes an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSpec {
    /// The attribute's name in `--set`.
    pub key: &'static str,
    /// The accepted form and its effect.
    pub form: SetForm,
}

/// The forms of `--set`, and what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetForm {
    /// `KEY=VALUE` replaces the value.
    Scalar,
    /// `KEY=BOOL` sets the boolean.
    Bool,
    /// `KEY.NAME=VALUE` sets one entry of a map.
    Entry,
    /// `KEY=VALUE` replaces the list, and `KEY+=VALUE` appends. Values of repeated flags are collected.
    List,
    /// `KEY=VALUE` and `KEY+=VALUE` both append.
    AppendOnly,
}

const fn set(key: &'static str, form: SetForm) -> SetSpec {
    SetSpec { key, form }
}

const fn row(
    id: TargetAttribute,
    name: &'static str,
    kind: AttributeKind,
    merge: Merge,
    set: Option<SetSpec>,
    doc: &'static str,
) -> AttributeSpec {
    AttributeSpec {
        id,
        name,
        kind,
        merge,
        set,
        doc,
    }
}

/// All attributes of targets, in the order in which plans print them.
#[rustfmt::skip]
pub const ATTRIBUTES: &[AttributeSpec] = &[
    row(TargetAttribute::Description, "description", AttributeKind::RequiredText, Merge::ReplaceUnlessEmpty, None,
        "What the target is for."),
    row(TargetAttribute::Inherits, "inherits", AttributeKind::Texts, Merge::Append, None,
        "Targets to inherit attributes from; later ones take precedence."),
    row(TargetAttribute::Annotations, "annotations", AttributeKind::Texts, Merge::AppendUnique, Some(set("annotations", SetForm::AppendOnly)),
        "Annotations of the image, `[type[platform]:]key=value`."),
    row(TargetAttribute::Attest, "attest", AttributeKind::Entries, Merge::ByKey("type"), Some(set("attest", SetForm::AppendOnly)),
        "Statements about the build that are attached to the image: provenance, sbom."),
    row(TargetAttribute::Context, "context", AttributeKind::Text, Merge::Replace, Some(set("context", SetForm::Scalar)),
        "The source tree: a directory, git repository or URL."),
    row(TargetAttribute::Contexts, "contexts", AttributeKind::Map, Merge::PerKey, Some(set("contexts", SetForm::Entry)),
        "Further source trees by name; an empty one removes an inherited one."),
    row(TargetAttribute::Dockerfile, "dockerfile", AttributeKind::Text, Merge::Replace, Some(set("dockerfile", SetForm::Scalar)),
        "The path of the Dockerfile, relative to the context, or its address."),
    row(TargetAttribute::DockerfileInline, "dockerfile-inline", AttributeKind::Text, Merge::Replace, None,
        "The text of the Dockerfile; takes precedence over `dockerfile`."),
    row(TargetAttribute::Args, "args", AttributeKind::NullableMap, Merge::PerKey, Some(set("args", SetForm::Entry)),
        "Build arguments."),
    row(TargetAttribute::Labels, "labels", AttributeKind::NullableMap, Merge::PerKey, Some(set("labels", SetForm::Entry)),
        "Labels of the image."),
    row(TargetAttribute::Tags, "tags", AttributeKind::Texts, Merge::Replace, Some(set("tags", SetForm::List)),
        "Names of the image."),
    row(TargetAttribute::CacheFrom, "cache-from", AttributeKind::Entries, Merge::AppendUnique, Some(set("cache-from", SetForm::List)),
        "Where to import the cache from."),
    row(TargetAttribute::CacheTo, "cache-to", AttributeKind::Entries, Merge::Replace, Some(set("cache-to", SetForm::List)),
        "Where to export the cache to."),
    row(TargetAttribute::Stage, "target", AttributeKind::Text, Merge::Replace, Some(set("target", SetForm::Scalar)),
        "The stage of the Dockerfile to build."),
    row(TargetAttribute::Secret, "secret", AttributeKind::Entries, Merge::ByKey("id"), Some(set("secrets", SetForm::List)),
        "Secrets for steps, from files or the environment."),
    row(TargetAttribute::Ssh, "ssh", AttributeKind::Entries, Merge::ByKey("id"), Some(set("ssh", SetForm::List)),
        "SSH agents and keys for steps."),
    row(TargetAttribute::Platforms, "platforms", AttributeKind::Texts, Merge::Replace, Some(set("platform", SetForm::List)),
        "Platforms to build for."),
    row(TargetAttribute::Output, "output", AttributeKind::Entries, Merge::Replace, Some(set("output", SetForm::List)),
        "The types of output for the result: image, registry, docker, oci, local, tar, cacheonly."),
    row(TargetAttribute::Pull, "pull", AttributeKind::Bool, Merge::Replace, Some(set("pull", SetForm::Bool)),
        "Whether to check for newer versions of images."),
    row(TargetAttribute::NoCache, "no-cache", AttributeKind::Bool, Merge::Replace, Some(set("no-cache", SetForm::Bool)),
        "Whether to build without the cache."),
    row(TargetAttribute::Network, "network", AttributeKind::Text, Merge::Replace, Some(set("network", SetForm::Scalar)),
        "The network of steps: default, host, none."),
    row(TargetAttribute::NoCacheFilter, "no-cache-filter", AttributeKind::Texts, Merge::AppendUnique, Some(set("no-cache-filter", SetForm::List)),
        "Stages to build without the cache."),
    row(TargetAttribute::ShmSize, "shm-size", AttributeKind::Text, Merge::Replace, Some(set("shm-size", SetForm::Scalar)),
        "Size of `/dev/shm`, such as `128m`."),
    row(TargetAttribute::Ulimits, "ulimits", AttributeKind::Texts, Merge::AppendUnique, Some(set("ulimits", SetForm::List)),
        "Limits of processes, `name=soft[:hard]`."),
    row(TargetAttribute::Resources, "resources", AttributeKind::Object, Merge::PerKey, Some(set("resources", SetForm::Entry)),
        "Limits of memory and CPU for steps."),
    row(TargetAttribute::Call, "call", AttributeKind::Text, Merge::Replace, Some(set("call", SetForm::Scalar)),
        "A call of the frontend instead of a build: check, outline, targets."),
    row(TargetAttribute::Entitlements, "entitlements", AttributeKind::Texts, Merge::AppendUnique, Some(set("entitlements", SetForm::AppendOnly)),
        "Privileges the build asks for: network.host, security.insecure, device."),
    row(TargetAttribute::ExtraHosts, "extra-hosts", AttributeKind::NullableMap, Merge::PerKey, Some(set("extra-hosts", SetForm::Entry)),
        "Extra hosts for steps: names and their addresses."),
    row(TargetAttribute::Policy, "policy", AttributeKind::Entries, Merge::Append, Some(set("policy", SetForm::List)),
        "Rules for the sources a build may use."),
];

/// Keys of `--set` that are not attributes but change one.
pub(crate) const EXTRA_SET_KEYS: &[SetSpec] = &[
    SetSpec {
        key: "push",
        form: SetForm::Bool,
    },
    SetSpec {
        key: "load",
        form: SetForm::Bool,
    },
    SetSpec {
        key: "secret",
        form: SetForm::Entry,
    },
];

/// Attributes of target blocks that evaluation consumes, so that they are not in the evaluated block.
pub(crate) const EVALUATED: &[&str] = &["matrix", "name"];

/// The row of the attribute called `name`.
pub(crate) fn attribute(name: &str) -> Option<&'static AttributeSpec> {
    ATTRIBUTES.iter().find(|spec| spec.name == name)
}

/// The names of all attributes that a target block may have, including those that evaluation consumes.
pub(crate) fn attribute_names() -> impl Iterator<Item = &'static str> {
    ATTRIBUTES
        .iter()
        .map(|spec| spec.name)
        .chain(EVALUATED.iter().copied())
}

/// All keys of `--set`.
pub(crate) fn set_keys() -> impl Iterator<Item = SetSpec> {
    ATTRIBUTES
        .iter()
        .filter_map(|spec| spec.set)
        .chain(EXTRA_SET_KEYS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_and_keys_of_set_are_unique() {
        let mut names: Vec<_> = attribute_names().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);

        let mut keys: Vec<_> = set_keys().map(|spec| spec.key).collect();
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        let in_order = ATTRIBUTES
            .windows(2)
            .all(|pair| (pair[0].id as usize) < pair[1].id as usize);
        assert!(in_order);
    }
}
