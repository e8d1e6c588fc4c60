//! Rewrites short forms to long forms, so that later steps have only one form to handle, and refuses values that
//! match no form.
//!
//! Only forms that builds need are rewritten. Ports and volumes are only checked.

use super::path::ModelPath;
use super::{short, text};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::yaml::{YamlEntry, YamlMapping, YamlNode, YamlValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A service: a mapping or null.
    Service,
    /// `build`: a mapping, or the context directory.
    Build,
    /// A mapping, or the name of a service.
    Extends,
    /// A mounted file: a mapping, or its source.
    Mount,
    /// A scalar, which becomes a string.
    Text,
    /// A mapping, or a list of `KEY=VALUE`.
    Pairs,
    /// A mapping, or a list of `ID=PATH`.
    Ssh,
    /// A list of files, or one file.
    EnvFiles,
    /// A mapping, or a list of names.
    DependsOn,
    /// A mapping, or a list of names. Anything else is kept unchanged.
    Names,
    /// A list, or a string.
    List,
    /// A list of mappings, or a word.
    Gpus,
    /// A mapping, or `SOURCE[:TARGET[:PERMISSIONS]]`.
    Device,
    /// A mapping (with a source if it is a bind mount), or a string.
    Volume,
    /// A list of numbers, strings and mappings.
    Ports,
    /// A mapping, or an integer.
    Ulimit,
    /// A mapping or null. Its `external` may be a mapping.
    Resource,
}

#[rustfmt::skip]
const FORMS: &[(&[&str], Form)] = &[
    (&["services", "*"], Form::Service),
    (&["services", "*", "build", "secrets", "*"], Form::Mount),
    (&["services", "*", "build", "provenance"], Form::Text),
    (&["services", "*", "build", "sbom"], Form::Text),
    (&["services", "*", "build", "additional_contexts"], Form::Pairs),
    (&["services", "*", "depends_on"], Form::DependsOn),
    (&["services", "*", "env_file"], Form::EnvFiles),
    (&["services", "*", "label_file"], Form::List),
    (&["services", "*", "extends"], Form::Extends),
    (&["services", "*", "gpus"], Form::Gpus),
    (&["services", "*", "networks"], Form::Names),
    (&["services", "*", "models"], Form::Names),
    (&["services", "*", "volumes", "*"], Form::Volume),
    (&["services", "*", "dns"], Form::List),
    (&["services", "*", "devices", "*"], Form::Device),
    (&["services", "*", "secrets", "*"], Form::Mount),
    (&["services", "*", "configs", "*"], Form::Mount),
    (&["services", "*", "ports"], Form::Ports),
    (&["services", "*", "build"], Form::Build),
    (&["services", "*", "build", "ssh"], Form::Ssh),
    (&["services", "*", "ulimits", "*"], Form::Ulimit),
    (&["services", "*", "build", "ulimits", "*"], Form::Ulimit),
    (&["services", "*", "develop", "watch", "*", "ignore"], Form::List),
    (&["services", "*", "develop", "watch", "*", "include"], Form::List),
    (&["volumes", "*"], Form::Resource),
    (&["networks", "*"], Form::Resource),
    (&["secrets", "*"], Form::Resource),
    (&["configs", "*"], Form::Resource),
];

/// Rewrites `node`, which is at `path` in the model, and everything below it. Adds an error for each value of a
/// wrong shape.
pub(super) fn canonical(node: &mut YamlNode, path: &ModelPath<'_>, problems: &mut Diagnostics) {
    let form = FORMS.iter().find(|(pattern, _)| path.matches(pattern));
    let Some((_, form)) = form else {
        return below(node, path, problems);
    };
    if let Err(wanted) = make(node, *form, path, problems) {
        let problem = Diagnostic::error(
            Class::Definition,
            "compose::wrong-type",
            format!("`{path}` must be {wanted}, but is {}", node.kind()),
        );
        problems.push(problem.at(node.span, ""));
    }
}

/// Applies [`canonical`] to the entries or items of `node`.
fn below(node: &mut YamlNode, path: &ModelPath<'_>, problems: &mut Diagnostics) {
    match &mut node.value {
        YamlValue::Mapping(entries) => {
            for (key, entry) in entries {
                canonical(&mut entry.value, &path.key(key), problems);
            }
        }
        YamlValue::Sequence(items) => {
            for item in items {
                canonical(item, &path.item(), problems);
            }
        }
        _ => {}
    }
}

/// Rewrites one value. The error is a description of what was expected instead.
fn make(
    node: &mut YamlNode,
    form: Form,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) -> Result<(), &'static str> {
    match form {
        Form::Service => {
            if matches!(node.value, YamlValue::Mapping(_)) {
                below(node, path, problems);
            }
        }
        Form::Build | Form::Extends => match node.value {
            YamlValue::Mapping(_) => below(node, path, problems),
            YamlValue::String(_) if form == Form::Build => wrap(node, "context"),
            YamlValue::String(_) => wrap(node, "service"),
            _ if form == Form::Build => return Err("a directory or a mapping"),
            _ => return Err("the name of a service or a mapping"),
        },
        Form::Mount => match node.value {
            YamlValue::Mapping(_) => {}
            YamlValue::String(_) => wrap(node, "source"),
            _ => return Err("a name or a mapping"),
        },
        Form::Text => {
            if let Some(text) = text::scalar(node) {
                node.value = YamlValue::String(text);
            }
        }
        Form::Pairs => pairs(node, path, problems)?,
        Form::Ssh => ssh(node, path, problems)?,
        Form::EnvFiles => env_files(node)?,
        Form::DependsOn => depends_on(node)?,
        Form::Names => {
            if let YamlValue::Sequence(items) = &node.value
                && items.iter().any(|item| item.as_str().is_none())
            {
                return Err("a mapping or a list of names");
            }
        }
        Form::List => {
            if matches!(node.value, YamlValue::String(_)) {
                let item = node.clone();
                node.value = YamlValue::Sequence(vec![item]);
            }
        }
        Form::Gpus => match &node.value {
            YamlValue::String(_) => node.value = YamlValue::Sequence(Vec::new()),
            YamlValue::Sequence(items) if items.iter().all(|item| item.as_mapping().is_some()) => {}
            _ => return Err("`all` or a list of mappings"),
        },
        Form::Device => match &node.value {
            YamlValue::String(text) if text.split(':').count() > 3 => {
                return Err("a mapping or have the form `SOURCE[:TARGET[:PERMISSIONS]]`");
            }
            YamlValue::String(_) | YamlValue::Mapping(_) => {}
            _ => return Err("a string or a mapping"),
        },
        Form::Volume => match &node.value {
            YamlValue::String(text) => short_form(short::volume(text), text, node, path, problems),
            YamlValue::Mapping(entries) => {
                let is_bind = node.get("type").and_then(YamlNode::as_str) == Some("bind");
                if is_bind && !entries.contains_key("source") {
                    return Err("a mapping with a `source`");
                }
            }
            _ => return Err("a path or a mapping"),
        },
        Form::Ports => {
            let is_port = |item: &YamlNode| {
                matches!(
                    item.value,
                    YamlValue::Int(_) | YamlValue::String(_) | YamlValue::Mapping(_)
                )
            };
            match &node.value {
                YamlValue::Sequence(items) if items.iter().all(is_port) => {
                    for item in items {
                        if let Some(text) = port_text(item) {
                            short_form(short::port(&text), &text, item, &path.item(), problems);
                        }
                    }
                }
                _ => return Err("a list of numbers, strings and mappings"),
            }
        }
        Form::Ulimit => match &node.value {
            YamlValue::Int(_) | YamlValue::Mapping(_) => {}
            _ => return Err("a whole number or a mapping"),
        },
        Form::Resource => resource(node)?,
    }
    Ok(())
}

/// The text of a port in its short form; a number is converted. `None` for a mapping, the long form.
fn port_text(item: &YamlNode) -> Option<String> {
    match &item.value {
        YamlValue::Mapping(_) => None,
        _ => text::scalar(item),
    }
}

/// Reports an error if the short form `text` could not be parsed. The usual cause is an unset variable, so the
/// help mentions that.
fn short_form(
    read: Result<(), &'static str>,
    text: &str,
    node: &YamlNode,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) {
    if let Err(why) = read {
        problems.push(
            Diagnostic::error(
                Class::Definition,
                "compose::invalid-value",
                format!("`{text}` in `{path}` is not valid"),
            )
            .at(node.span, why)
            .help("variables that are not set are replaced by an empty string"),
        );
    }
}

/// Replaces a value with the mapping `{key: value}`.
fn wrap(node: &mut YamlNode, key: &str) {
    let entry = YamlEntry {
        key: node.span,
        value: node.clone(),
    };
    *node = YamlNode::new(
        YamlValue::Mapping([(key.to_owned(), entry)].into()),
        node.span,
    );
}

/// Converts a list of `KEY=VALUE` to a mapping.
fn pairs(
    node: &mut YamlNode,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) -> Result<(), &'static str> {
    const WANTED: &str = "a mapping or a list of `KEY=VALUE`";
    let items = match &node.value {
        YamlValue::Mapping(_) => return Ok(()),
        YamlValue::Sequence(items) => items,
        _ => return Err(WANTED),
    };
    let mut entries = YamlMapping::with_capacity(items.len());
    for item in items {
        let text = item.as_str().ok_or(WANTED)?;
        match text.split_once('=') {
            Some((key, value)) => drop(entries.insert(key.to_owned(), part_of(item, key, value))),
            None => problems.push(
                Diagnostic::error(
                    Class::Definition,
                    "compose::invalid-value",
                    format!("`{text}` in `{path}` must have the form `KEY=VALUE`"),
                )
                .at(item.span, "there is no `=`"),
            ),
        }
    }
    node.value = YamlValue::Mapping(entries);
    Ok(())
}

/// The entry for a list item `KEY=VALUE`. Key and value get their own places within the item.
fn part_of(item: &YamlNode, key: &str, value: &str) -> YamlEntry {
    let end = key.len() + 1 + value.len();
    YamlEntry {
        key: item.part(0..key.len()),
        value: YamlNode::new(
            YamlValue::String(value.to_owned()),
            item.part(key.len() + 1..end),
        ),
    }
}

/// Converts a list of `ID=PATH` to a mapping.
fn ssh(
    node: &mut YamlNode,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) -> Result<(), &'static str> {
    const WANTED: &str = "a mapping or a list of `ID=PATH`";
    let items = match &node.value {
        YamlValue::Mapping(_) => return Ok(()),
        YamlValue::Sequence(items) => items,
        _ => return Err(WANTED),
    };
    let mut entries = YamlMapping::with_capacity(items.len());
    for item in items {
        let text = item.as_str().ok_or(WANTED)?;
        match text.split_once('=') {
            Some((id, file)) => drop(entries.insert(id.to_owned(), part_of(item, id, file))),
            None if text == "default" => {
                let (key, value) = (item.span, YamlNode::new(YamlValue::Null, item.span));
                entries.insert(text.to_owned(), YamlEntry { key, value });
            }
            None => problems.push(
                Diagnostic::error(
                    Class::Definition,
                    "compose::invalid-value",
                    format!("`{text}` in `{path}` must be `default` or have the form `ID=PATH`"),
                )
                .at(item.span, "there is no `=`"),
            ),
        }
    }
    node.value = YamlValue::Mapping(entries);
    Ok(())
}

/// Converts a single file to a list, and each file to a mapping with `path`.
fn env_files(node: &mut YamlNode) -> Result<(), &'static str> {
    const WANTED: &str = "a file or a list of files";
    if matches!(node.value, YamlValue::String(_)) {
        wrap(node, "path");
        let item = node.clone();
        node.value = YamlValue::Sequence(vec![item]);
        return Ok(());
    }
    let YamlValue::Sequence(items) = &mut node.value else {
        return Err(WANTED);
    };
    for item in items {
        match item.value {
            YamlValue::String(_) => wrap(item, "path"),
            YamlValue::Mapping(_) => {}
            _ => return Err(WANTED),
        }
    }
    Ok(())
}

fn depends_on(node: &YamlNode) -> Result<(), &'static str> {
    match &node.value {
        YamlValue::Mapping(entries)
            if entries
                .values()
                .all(|entry| entry.value.as_mapping().is_some()) =>
        {
            Ok(())
        }
        YamlValue::Sequence(items) if items.iter().all(|item| item.as_str().is_some()) => Ok(()),
        _ => Err("a mapping of mappings or a list of names"),
    }
}

fn resource(node: &mut YamlNode) -> Result<(), &'static str> {
    match &mut node.value {
        YamlValue::Null => Ok(()),
        YamlValue::Mapping(entries) => {
            let Some(external) = entries.get_mut("external") else {
                return Ok(());
            };
            let span = external.value.span;
            let YamlValue::Mapping(inner) = &mut external.value.value else {
                return Ok(());
            };
            let name = inner.swap_remove("name");
            external.value = YamlNode::new(YamlValue::Bool(true), span);
            match (name, entries.get("name")) {
                (Some(name), None) => drop(entries.insert("name".to_owned(), name)),
                (Some(inner), Some(outer)) if inner.value != outer.value => {
                    return Err("a mapping in which `name` and `external.name` are the same");
                }
                _ => {}
            }
            Ok(())
        }
        _ => Err("a mapping"),
    }
}
