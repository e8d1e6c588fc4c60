//! Turns evaluated blocks into typed groups and targets.
//!
//! Reports every problem of every block, each at the smallest part of the text that contains it. Blocks with the
//! same target name are merged in the order they are written. Start at [`decode()`].

mod bases;
mod entries;
mod reader;

use std::str::FromStr as _;
use std::sync::Arc;

use self::bases::ContextBases;
use self::reader::{AttributeReader, Owner};
use super::evaluated::{BlockOrigin, Evaluated, EvaluatedAttribute, EvaluatedBlock};
use super::model::{Definition, Group, List, SharedText, Target};
use super::schema::{self, TargetAttribute};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::types::hash::HashSet;
use crate::types::{Environment, GroupName, TargetName};

/// Settings that change the meaning of a definition.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecodeOptions {
    /// Whether relative contexts are relative to the file they are written in, instead of the working directory.
    pub(crate) file_relative_paths: bool,
}

impl DecodeOptions {
    /// Reads `BUILDX_BAKE_FILE_RELATIVE_PATHS`. Fails if its value is not a boolean in Go's spelling.
    pub fn from_environment(environment: &Environment) -> Result<Self, Diagnostic> {
        const VARIABLE: &str = "BUILDX_BAKE_FILE_RELATIVE_PATHS";
        let Some(value) = environment.non_empty(VARIABLE).map(str::trim) else {
            return Ok(Self::default());
        };
        match crate::golang::strconv::parse_bool(value) {
            Some(file_relative_paths) => Ok(Self {
                file_relative_paths,
            }),
            None => Err(Diagnostic::error(
                Class::Usage,
                "definition::environment",
                format!("`{value}` in the environment variable `{VARIABLE}` is not a boolean"),
            )
            .help("set it to `1` or `0`, or not at all")),
        }
    }
}

/// Converts the blocks of `evaluated` to their types and merges blocks with the same name.
pub fn decode(evaluated: Evaluated, options: DecodeOptions) -> Result<Definition, Diagnostics> {
    let mut problems = Diagnostics(evaluated.warnings);
    let mut definition = Definition {
        variables: evaluated.variables,
        unbuilt: evaluated.unbuilt,
        ..Definition::default()
    };
    for block in &evaluated.groups {
        group(block, &mut definition, &mut problems);
    }
    let mut bases = ContextBases::default();
    definition.targets.reserve(evaluated.targets.len());
    // Each block is dropped, with the expressions that only it holds, as soon as its target exists, so that the
    // target can reuse the memory.
    for block in evaluated.targets {
        let Some(target) = target(&block, &mut problems) else {
            continue;
        };
        if options.file_relative_paths {
            bases.note(&block, &target);
        }
        match definition.targets.entry(target.name.value.clone()) {
            indexmap::map::Entry::Occupied(mut earlier) => {
                Arc::make_mut(earlier.get_mut()).merge(&target);
            }
            indexmap::map::Entry::Vacant(place) => {
                place.insert(Arc::new(target));
            }
        }
    }
    if options.file_relative_paths {
        bases.rebase(&mut definition.targets);
    }
    if problems.has_errors() {
        return Err(problems);
    }
    definition.warnings = problems;
    Ok(definition)
}

fn invalid_name(kind: &str, name: &Spanned<Arc<str>>) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Definition,
        "definition::invalid-name",
        format!("`{}` is not a valid name for a {kind}", name.value),
    )
    .note("names are made of letters, digits, `_` and `-`");
    problem.at(name.span, "")
}

/// Adds a group. A later group of the same name replaces an earlier one.
fn group(block: &EvaluatedBlock, definition: &mut Definition, problems: &mut Diagnostics) {
    let Ok(name) = GroupName::try_from(Arc::clone(&block.name.value)) else {
        problems.push(invalid_name("group", &block.name));
        return;
    };
    // The group of a matrix gives way to a group of the same name that the user wrote.
    if block.origin == BlockOrigin::MatrixGroup && definition.groups.contains_key(&name) {
        return;
    }
    let owner = Owner::Block("group", name.as_str());
    let mut group = Group {
        description: None,
        members: List::default(),
    };
    let mut has_members = false;
    for (attribute, raw) in &block.attributes {
        let mut reader = AttributeReader::new(attribute, raw, owner, problems);
        match &**attribute {
            "description" => group.description = reader.required_text(),
            "targets" => {
                has_members = true;
                group.members = reader.texts();
            }
            _ => problems.push(ignored(attribute, raw, owner, ["description", "targets"])),
        }
    }
    if !has_members {
        let problem = Diagnostic::error(
            Class::Definition,
            "definition::missing-attribute",
            format!("{owner} has no `targets`"),
        )
        .help("write `targets = [\"name\"]`");
        problems.push(problem.at(block.name.span, "`targets` is required"));
    }
    keep_first(&mut group.members);
    definition.groups.insert(name, Arc::new(group));
}

/// Removes repeated members. Empty members stay, unlike in other lists: they are reported when the group is used.
fn keep_first(members: &mut List<SharedText>) {
    let mut seen = HashSet::default();
    if members.iter().all(|member| seen.insert(&member.value)) {
        return;
    }
    let mut seen = HashSet::default();
    let kept = members
        .iter()
        .filter(|member| seen.insert(member.value.clone()))
        .cloned()
        .collect();
    *members = List::of(kept);
}

/// The warning for an unknown attribute. buildx ignores such attributes silently, but they may be typing errors.
fn ignored<'a>(
    name: &str,
    raw: &EvaluatedAttribute,
    owner: Owner<'_>,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let warning = Diagnostic::warning(
        "definition::ignored-attribute",
        format!("`{name}` of {owner} is not known and is ignored"),
    );
    let warning = warning.at(raw.name_span, "");
    warning.did_you_mean("an attribute", name, known)
}

/// Converts one target block. Returns `None` after an error in its name; other errors only leave attributes out.
fn target(block: &EvaluatedBlock, problems: &mut Diagnostics) -> Option<Target> {
    let Ok(name) = TargetName::try_from(Arc::clone(&block.name.value)) else {
        problems.push(invalid_name("target", &block.name));
        return None;
    };
    let mut target = Target::empty(block.name.clone().map(|_| name));
    target.deferred.clone_from(&block.deferred);
    let owner = Owner::Block("target", &block.name.value);
    for (name, raw) in &block.attributes {
        match schema::attribute(name) {
            Some(spec) => {
                let mut reader = AttributeReader::new(name, raw, owner, problems);
                set(&mut target, spec.id, &mut reader);
                target.deferred.append(&mut reader.into_doubts());
            }
            None if schema::EVALUATED.contains(&&**name) => {}
            None => problems.push(ignored(name, raw, owner, schema::attribute_names())),
        }
    }
    Some(target)
}

/// Returns a target in which only `attribute` is set: to `values`, merged in order. `owner` is used in messages.
///
/// References to an attribute (`target.web.tags`) use this to see its typed and merged value.
pub(super) fn single_attribute(
    spec: &schema::AttributeSpec,
    values: &[EvaluatedAttribute],
    owner: &str,
) -> Result<Target, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut whole: Option<Target> = None;
    let name = TargetName::from_str("referred")
        .map_err(|error| Diagnostic::error(Class::Internal, "internal::name", error.to_string()))?;
    for raw in values {
        let mut target = Target::empty(Spanned::without_span(name.clone()));
        set(
            &mut target,
            spec.id,
            &mut AttributeReader::new(spec.name, raw, Owner::Words(owner), &mut problems),
        );
        match &mut whole {
            Some(whole) => whole.merge(&target),
            None => whole = Some(target),
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(whole.unwrap_or_else(|| Target::empty(Spanned::without_span(name))))
}

fn set(target: &mut Target, attribute: TargetAttribute, reader: &mut AttributeReader<'_>) {
    match attribute {
        TargetAttribute::Description => target.description = reader.required_text(),
        TargetAttribute::Inherits => target.inherits = reader.texts(),
        TargetAttribute::Annotations => target.annotations = reader.texts(),
        TargetAttribute::Attest => target.attest = reader.attests(),
        TargetAttribute::Context => target.context = reader.text(),
        TargetAttribute::Contexts => target.contexts = reader.map(),
        TargetAttribute::Dockerfile => target.dockerfile = reader.text(),
        TargetAttribute::DockerfileInline => target.dockerfile_inline = reader.text(),
        TargetAttribute::Args => target.args = reader.nullable_map(),
        TargetAttribute::Labels => target.labels = reader.nullable_map(),
        TargetAttribute::Tags => target.tags = reader.texts(),
        TargetAttribute::CacheFrom => target.cache_from = reader.caches(),
        TargetAttribute::CacheTo => target.cache_to = reader.caches(),
        TargetAttribute::Stage => target.stage = reader.text(),
        TargetAttribute::Secret => target.secret = reader.secrets(),
        TargetAttribute::Ssh => target.ssh = reader.ssh(),
        TargetAttribute::Platforms => target.platforms = reader.texts(),
        TargetAttribute::Output => target.output = reader.exports(),
        TargetAttribute::Pull => target.pull = reader.boolean(),
        TargetAttribute::NoCache => target.no_cache = reader.boolean(),
        TargetAttribute::Network => target.network = reader.text(),
        TargetAttribute::NoCacheFilter => target.no_cache_filter = reader.texts(),
        TargetAttribute::ShmSize => target.shm_size = reader.text(),
        TargetAttribute::Ulimits => target.ulimits = reader.texts(),
        TargetAttribute::Resources => target.resources = reader.resources(),
        TargetAttribute::Call => target.call = reader.text(),
        TargetAttribute::Entitlements => target.entitlements = reader.texts(),
        TargetAttribute::ExtraHosts => target.extra_hosts = reader.nullable_map(),
        TargetAttribute::Policy => target.policy = reader.policies(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::schema::{ATTRIBUTES, AttributeKind, Merge};
    use super::*;
    use crate::hcl::cty::{Type, Value};
    use test_case::test_case;

    fn block(name: &str, attributes: &[(&str, Value)]) -> EvaluatedBlock {
        EvaluatedBlock {
            name: Spanned::without_span(name.into()),
            attributes: attributes
                .iter()
                .map(|(name, value)| (Arc::from(*name), EvaluatedAttribute::made(value.clone())))
                .collect(),
            base_dir: None,
            origin: BlockOrigin::Written,
            deferred: Vec::new(),
        }
    }

    fn targets(blocks: Vec<EvaluatedBlock>) -> Result<Definition, Diagnostics> {
        let evaluated = Evaluated {
            targets: blocks,
            ..Evaluated::default()
        };
        decode(evaluated, DecodeOptions::default())
    }

    fn one(attribute: &str, value: Value) -> Result<Target, Diagnostics> {
        let definition = targets(vec![block("t", &[(attribute, value)])])?;
        Ok(Target::clone(&definition.targets["t"]))
    }

    fn object(fields: &[(&str, Value)]) -> Value {
        let fields: BTreeMap<_, _> = fields
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone()))
            .collect();
        Value::object(fields)
    }

    fn null() -> Value {
        Value::Null(Type::Dynamic)
    }

    fn codes(result: Result<Target, Diagnostics>) -> Vec<&'static str> {
        let problems = result.unwrap_err();
        problems.0.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn null_leaves_an_attribute_unset_or_is_an_error_depending_on_its_kind() {
        for spec in ATTRIBUTES {
            let allowed = !matches!(
                spec.kind,
                AttributeKind::RequiredText | AttributeKind::Entries | AttributeKind::Object
            );
            assert_eq!(one(spec.name, null()).is_ok(), allowed, "{}", spec.name);
        }
    }

    #[test]
    fn every_attribute_accepts_only_values_of_its_kind() {
        for spec in ATTRIBUTES {
            let text = Value::string("1");
            let list = Value::tuple(vec![]);
            let map = object(&[]);
            let (fits, misfits) = match spec.kind {
                AttributeKind::RequiredText | AttributeKind::Text | AttributeKind::Bool => {
                    (text, [list, map])
                }
                AttributeKind::Texts | AttributeKind::Entries => (list, [text, map]),
                AttributeKind::Map | AttributeKind::NullableMap | AttributeKind::Object => {
                    (map, [text, list])
                }
            };
            let name = spec.name;
            assert!(one(name, fits).is_ok(), "{name}");
            for misfit in misfits {
                assert_eq!(
                    codes(one(name, misfit)),
                    ["definition::wrong-type"],
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_error_for_a_text_in_place_of_a_list_shows_the_list() {
        let problems = one("output", Value::string("/tmp")).unwrap_err();
        assert_eq!(problems.0[0].help, [r#"write a list: `output = ["/tmp"]`"#]);
    }

    // Checks the merge column of the attribute table against the code: merges two blocks of one target with
    // different values.
    #[test]
    fn merging_follows_the_attribute_table() {
        let text = |text: &str| Value::string(text);
        for spec in ATTRIBUTES {
            let value = |which: &str| match spec.kind {
                AttributeKind::RequiredText | AttributeKind::Text => text(which),
                AttributeKind::Bool => Value::from(which == "a"),
                AttributeKind::Texts => Value::tuple(vec![text(which)]),
                AttributeKind::Map | AttributeKind::NullableMap => object(&[(which, text("v"))]),
                AttributeKind::Object if which == "a" => object(&[("memory", text("1g"))]),
                AttributeKind::Object => object(&[("cpuset-cpus", text("0"))]),
                AttributeKind::Entries => Value::tuple(vec![match spec.id {
                    TargetAttribute::Attest => text(&format!("type={which}")),
                    TargetAttribute::Secret => text(&format!("id={which}")),
                    TargetAttribute::Policy => text(&format!("filename={which}")),
                    _ => text(which),
                }]),
            };
            let merged = |first: &str, second: &str| {
                let blocks = vec![
                    block("t", &[(spec.name, value(first))]),
                    block("t", &[(spec.name, value(second))]),
                ];
                let mut target = Target::clone(&targets(blocks).unwrap().targets["t"]);
                target.normalise();
                target
            };
            let alone = |which: &str| {
                let mut target = one(spec.name, value(which)).unwrap();
                target.normalise();
                target
            };
            let replaces = merged("a", "b") == alone("b");
            let unique = merged("a", "a") == alone("a");
            let expected = match spec.merge {
                Merge::Replace | Merge::ReplaceUnlessEmpty => (true, true),
                Merge::PerKey | Merge::AppendUnique | Merge::ByKey(_) => (false, true),
                Merge::Append => (false, false),
            };
            assert_eq!((replaces, unique), expected, "{}", spec.name);
        }
    }

    #[test_case(Value::string("1"), Some(true); "one")]
    #[test_case(Value::string("false"), Some(false); "word")]
    #[test_case(Value::string("True"), None; "case")]
    #[test_case(Value::number(1_i64), None; "number")]
    fn booleans_are_decoded(value: Value, expected: Option<bool>) {
        let read = one("pull", value).ok();
        assert_eq!(
            read.map(|target| target.pull.map(|pull| pull.value)),
            expected.map(Some)
        );
    }

    #[test]
    fn list_elements_become_texts_and_nulls_are_errors() {
        let target = one(
            "tags",
            Value::tuple(vec![Value::number(1_i64), Value::from(true)]),
        );
        let tags: Vec<_> = target
            .unwrap()
            .tags
            .iter()
            .map(|t| t.value.clone())
            .collect();
        assert_eq!(tags, ["1".into(), SharedText::from("true")]);
        for name in [
            "tags",
            "output",
            "secret",
            "ssh",
            "attest",
            "cache-from",
            "policy",
        ] {
            let list = Value::tuple(vec![null(), null()]);
            assert_eq!(
                codes(one(name, list)),
                ["definition::null-value"; 2],
                "{name}"
            );
        }
        let export = object(&[("type", Value::string("image")), ("name", null())]);
        let problems = codes(one("output", Value::tuple(vec![export])));
        assert_eq!(problems, ["definition::null-value"]);
    }

    #[test]
    fn nulls_in_maps_are_left_out_or_are_errors() {
        let args = one("args", object(&[("A", null()), ("B", Value::string("1"))])).unwrap();
        assert_eq!((args.args.get("A"), args.args.len()), (None, 1));
        let problems = codes(one("contexts", object(&[("A", null())])));
        assert_eq!(problems, ["definition::null-value"]);
    }

    #[test]
    fn objects_and_texts_can_be_mixed() {
        let list = Value::tuple(vec![
            object(&[
                ("type", Value::string("image")),
                ("push", Value::from(true)),
            ]),
            Value::string(""),
            Value::string("type=local,dest=out"),
        ]);
        let target = one("output", list).unwrap();
        assert_eq!(target.output.len(), 2);
        assert_eq!(target.output.as_slice()[0].attr("push"), Some("true"));
    }

    #[test]
    fn resources_are_checked_field_by_field() {
        let resources = object(&[
            ("memory", Value::number(5_i64)),
            ("cpu-shares", Value::string("5e2")),
            ("cpuset-mems", null()),
        ]);
        let read = one("resources", resources).unwrap().resources.unwrap();
        assert_eq!(
            read.cpu_shares.as_ref().map(|shares| shares.value),
            Some(500)
        );
        let broken = object(&[
            ("memroy", Value::string("1g")),
            ("cpu-quota", Value::string("x")),
            ("cpu-period", Value::string("1.5")),
        ]);
        assert_eq!(codes(one("resources", broken)).len(), 3);
    }

    #[test]
    fn unknown_attributes_and_keys_cause_warnings() {
        let secret = object(&[("id", Value::string("a")), ("type", Value::string("env"))]);
        let attributes = [
            ("tag", Value::tuple(vec![])),
            ("secret", Value::tuple(vec![secret])),
        ];
        let definition = targets(vec![block("t", &attributes)]).unwrap();
        let warnings = &definition.warnings.0;
        assert_eq!(warnings[0].code, "definition::ignored-attribute");
        assert!(warnings[0].help[0].contains("`tags`"), "{warnings:?}");
        assert_eq!(warnings[1].code, "definition::ignored-key");
    }

    #[test]
    fn a_later_group_replaces_an_earlier_one_unless_it_comes_from_a_matrix() {
        let members = |name: &str| Value::tuple(vec![Value::string(name), Value::string(name)]);
        let mut matrix = block("g", &[("targets", members("c"))]);
        matrix.origin = BlockOrigin::MatrixGroup;
        let evaluated = Evaluated {
            groups: vec![
                block("g", &[("targets", members("a"))]),
                block("g", &[("targets", members("b"))]),
                matrix,
            ],
            ..Evaluated::default()
        };
        let definition = decode(evaluated, DecodeOptions::default()).unwrap();
        let members = &definition.groups["g"].members;
        assert_eq!((members.len(), &*members.as_slice()[0].value), (1, "b"));
    }

    #[test]
    fn groups_need_targets_and_valid_names() {
        let evaluated = Evaluated {
            groups: vec![block("g", &[]), block("a.b", &[])],
            ..Evaluated::default()
        };
        let problems = decode(evaluated, DecodeOptions::default()).unwrap_err();
        let codes: Vec<_> = problems.0.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            ["definition::missing-attribute", "definition::invalid-name"]
        );
    }
}
