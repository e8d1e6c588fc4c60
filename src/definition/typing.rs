//! The value that a reference to a block's attribute has: converted to the attribute's type, not as it is written.
//!
//! For example, `target.web.tags` is a list of strings even if the file contains a number, and
//! `target.web.output[0].type` works for an output that is written as a string. Blocks of the same name are merged
//! in the same way as the target itself. Start at [`of`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declarations::BlockKind;
use super::decode::single_attribute;
use super::evaluated::EvaluatedAttribute;
use super::model::{Attrs, LogLevel, Resources, Target};
use super::schema::{self, AttributeKind, AttributeSpec, Merge, TargetAttribute};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Text, Type, Value};
use crate::hcl::syntax::Expr;

/// The type of an attribute that expressions can refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typing {
    kind: AttributeKind,
    merge: Merge,
    name: &'static str,
    spec: Option<&'static AttributeSpec>,
}

const GROUP_ATTRIBUTES: [Typing; 2] = [
    Typing {
        kind: AttributeKind::RequiredText,
        merge: Merge::Replace,
        name: "description",
        spec: None,
    },
    Typing {
        kind: AttributeKind::Texts,
        merge: Merge::Replace,
        name: "targets",
        spec: None,
    },
];

/// The type of the attribute called `attribute` in blocks of `kind`. `None` if they have no such attribute.
pub(super) fn of(kind: BlockKind, attribute: &str) -> Option<Typing> {
    match kind {
        BlockKind::Target => schema::attribute(attribute).map(|spec| Typing {
            kind: spec.kind,
            merge: spec.merge,
            name: spec.name,
            spec: Some(spec),
        }),
        BlockKind::Group => GROUP_ATTRIBUTES
            .into_iter()
            .find(|typing| typing.name == attribute),
    }
}

/// The names of the attributes of blocks of `kind`.
pub(super) fn names(kind: BlockKind) -> Vec<&'static str> {
    match kind {
        BlockKind::Target => schema::ATTRIBUTES.iter().map(|spec| spec.name).collect(),
        BlockKind::Group => GROUP_ATTRIBUTES.iter().map(|typing| typing.name).collect(),
    }
}

impl Typing {
    /// The value of a reference. `values` are the attribute's values in all blocks of the name, in order.
    pub(super) fn reference(&self, values: &[(Value, &Arc<Expr>)]) -> Result<Value, Diagnostics> {
        match self.kind {
            AttributeKind::RequiredText => {
                let text = self.last(values, &Type::String)?;
                Ok(if text.is_null() {
                    Value::from("")
                } else {
                    text
                })
            }
            AttributeKind::Text => self.last(values, &Type::String),
            AttributeKind::Bool => self.last(values, &Type::Bool),
            AttributeKind::Texts => self.texts(values),
            AttributeKind::Map | AttributeKind::NullableMap => self.texts_by_name(values),
            AttributeKind::Entries | AttributeKind::Object => self.entries(values),
        }
    }

    fn typed(&self, value: &Value, expr: &Expr, ty: &Type) -> Result<Value, Diagnostics> {
        convert(value, ty).map_err(|error| {
            Diagnostic::error(
                Class::Definition,
                "definition::wrong-type",
                format!("`{}` has the wrong type: {error}", self.name),
            )
            .at(expr.span, "")
            .into()
        })
    }

    /// The last value that is not null, as `ty`. Null if there is none.
    fn last(&self, values: &[(Value, &Arc<Expr>)], ty: &Type) -> Result<Value, Diagnostics> {
        match values.iter().rev().find(|(value, _)| !value.is_null()) {
            Some((value, expr)) => self.typed(value, expr, ty),
            None => Ok(Value::Null(ty.clone())),
        }
    }

    /// A list of strings. The lists of all blocks are joined, unless the merge rule is `Replace`.
    fn texts(&self, values: &[(Value, &Arc<Expr>)]) -> Result<Value, Diagnostics> {
        let ty = Type::list(Type::String);
        if self.merge == Merge::Replace || values.len() < 2 {
            return self.last(values, &ty);
        }
        let mut items = Vec::new();
        for (value, expr) in values {
            let list = self.typed(value, expr, &ty)?;
            items.extend_from_slice(list.items().unwrap_or_default());
        }
        Ok(Value::list(Type::String, items))
    }

    /// A map of strings. The maps of all blocks are merged.
    fn texts_by_name(&self, values: &[(Value, &Arc<Expr>)]) -> Result<Value, Diagnostics> {
        let ty = Type::map(Type::String);
        if values.len() < 2 {
            return self.last(values, &ty);
        }
        let mut entries: BTreeMap<Text, Value> = BTreeMap::new();
        for (value, expr) in values {
            let map = self.typed(value, expr, &ty)?;
            for (name, value) in map.entries().into_iter().flatten() {
                // As in buildx, a later null does not remove an earlier value.
                if !value.is_null() || !entries.contains_key(name) {
                    entries.insert(name.clone(), value.clone());
                }
            }
        }
        Ok(Value::map(Type::String, entries))
    }

    /// An attribute whose elements may be strings or objects. It is decoded as for the target itself, so that a
    /// reference sees its fields.
    fn entries(&self, values: &[(Value, &Arc<Expr>)]) -> Result<Value, Diagnostics> {
        let Some(spec) = self.spec else {
            return Ok(Value::null());
        };
        let raw: Vec<EvaluatedAttribute> = values
            .iter()
            .map(|(value, expr)| EvaluatedAttribute {
                name_span: None,
                value: value.clone(),
                expr: Some(Arc::clone(expr)),
            })
            .collect();
        let target = single_attribute(spec, &raw, "the referenced target")?;
        Ok(structured(&target, spec.id))
    }
}

/// The decoded attribute as a value: entries become maps or objects, and all elements of a list have the same type.
fn structured(target: &Target, attribute: TargetAttribute) -> Value {
    let maps = |maps: Vec<BTreeMap<Text, Value>>| {
        let ty = Type::map(Type::String);
        let maps = maps
            .into_iter()
            .map(|map| Value::map(Type::String, map))
            .collect();
        Value::list(ty, maps)
    };
    match attribute {
        TargetAttribute::Output => maps(
            target
                .output
                .iter()
                .map(|export| {
                    let mut map = attrs(&export.attrs, export.kind.name());
                    map.insert(
                        "dest".into(),
                        text(export.dest.as_deref().unwrap_or_default()),
                    );
                    map
                })
                .collect(),
        ),
        TargetAttribute::CacheFrom | TargetAttribute::CacheTo => {
            let caches = match attribute {
                TargetAttribute::CacheFrom => &target.cache_from,
                _ => &target.cache_to,
            };
            maps(
                caches
                    .iter()
                    .map(|cache| attrs(&cache.attrs, cache.kind.name()))
                    .collect(),
            )
        }
        TargetAttribute::Attest => maps(
            target
                .attest
                .iter()
                .map(|attest| {
                    let mut map = attrs(&attest.attrs, &attest.kind);
                    if attest.disabled {
                        map.insert("disabled".into(), text("true"));
                    }
                    map
                })
                .collect(),
        ),
        TargetAttribute::Policy => maps(
            target
                .policy
                .iter()
                .map(|policy| policy_map(policy))
                .collect(),
        ),
        TargetAttribute::Secret => {
            let ty = Type::object(["id", "src", "env"].map(|name| (name, Type::String)));
            let secrets = target.secret.iter().map(|secret| {
                object([
                    ("id", text(&secret.id)),
                    ("src", text(secret.src.as_deref().unwrap_or_default())),
                    ("env", text(secret.env.as_deref().unwrap_or_default())),
                ])
            });
            Value::list(ty, secrets.collect())
        }
        TargetAttribute::Ssh => {
            let ty = Type::object([("id", Type::String), ("paths", Type::list(Type::String))]);
            let keys = target.ssh.iter().map(|ssh| {
                let paths = ssh.paths.iter().map(|path| text(path)).collect();
                object([
                    ("id", text(&ssh.id)),
                    ("paths", Value::list(Type::String, paths)),
                ])
            });
            Value::list(ty, keys.collect())
        }
        TargetAttribute::Resources => resources(target.resources.as_deref()),
        _ => Value::null(),
    }
}

fn policy_map(policy: &super::model::PolicyEntry) -> BTreeMap<Text, Value> {
    let mut map = BTreeMap::new();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            map.insert(Text::from(name), text(value));
        }
    };
    add("filename", policy.files.first().map(|file| &**file));
    add("reset", policy.reset.then_some("true"));
    add("disabled", policy.disabled.then_some("true"));
    add(
        "strict",
        policy
            .strict
            .map(|strict| if strict { "true" } else { "false" }),
    );
    add("log-level", policy.log_level.map(LogLevel::name));
    map
}

fn resources(resources: Option<&Resources>) -> Value {
    const NUMBERS: [&str; 3] = ["cpu-shares", "cpu-period", "cpu-quota"];
    let types = super::model::RESOURCE_FIELDS.iter().map(|name| {
        let ty = if NUMBERS.contains(name) {
            Type::Number
        } else {
            Type::String
        };
        (*name, ty)
    });
    let Some(resources) = resources else {
        return Value::Null(Type::object(types));
    };
    let text = |value: &Option<crate::diag::Spanned<super::model::SharedText>>| match value {
        Some(value) => text(value),
        None => Value::Null(Type::String),
    };
    let number = |value: &Option<crate::diag::Spanned<i64>>| match value {
        Some(value) => Value::number(value.value),
        None => Value::Null(Type::Number),
    };
    object([
        ("memory", text(&resources.memory)),
        ("memory-swap", text(&resources.memory_swap)),
        ("cpu-shares", number(&resources.cpu_shares)),
        ("cpu-period", number(&resources.cpu_period)),
        ("cpu-quota", number(&resources.cpu_quota)),
        ("cpuset-cpus", text(&resources.cpuset_cpus)),
        ("cpuset-mems", text(&resources.cpuset_mems)),
    ])
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn attrs(attrs: &Attrs, kind: &str) -> BTreeMap<Text, Value> {
    let mut map: BTreeMap<Text, Value> = attrs
        .iter()
        .map(|(key, value)| (Text::from(&**key), text(value)))
        .collect();
    map.insert("type".into(), text(kind));
    map
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::object(
        fields
            .into_iter()
            .map(|(name, value)| (Text::from(name), value))
            .collect(),
    )
}
