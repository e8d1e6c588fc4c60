//! Reads `extra_hosts`, which gives host names addresses and has several forms.

use super::project::Entries;
use super::text;
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};
use crate::yaml::{YamlNode, YamlValue};

/// Reads a mapping, or a list of `HOST=ADDRESS` or `HOST:ADDRESS`. Several addresses of one host are joined by commas.
pub(super) fn read(node: &YamlNode, problems: &mut Diagnostics) -> Entries {
    let mut hosts: indexmap::IndexMap<String, (Vec<String>, Span)> = indexmap::IndexMap::new();
    match &node.value {
        YamlValue::Mapping(entries) => {
            for (host, entry) in entries {
                let addresses = match &entry.value.value {
                    YamlValue::Sequence(items) => {
                        items.iter().map(|item| text::text(&item.value)).collect()
                    }
                    value => vec![text::text(value)],
                };
                check(host, entry.key, problems);
                hosts.insert(host.clone(), (addresses, entry.value.span));
            }
        }
        YamlValue::Sequence(items) => {
            for item in items {
                let text = text::text(&item.value);
                let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':'))
                else {
                    let message = format!("`{text}` must have the form `HOST=ADDRESS`");
                    problems.push(invalid(message, item.span));
                    continue;
                };
                check(host, item.span, problems);
                let known = hosts
                    .entry(host.to_owned())
                    .or_insert_with(|| (Vec::new(), item.span));
                known.0.extend(addresses.split(',').map(str::to_owned));
            }
        }
        _ => {}
    }
    hosts
        .into_iter()
        .map(|(host, (addresses, span))| {
            let addresses: Vec<&str> = addresses.iter().map(|address| bare(address)).collect();
            (host, Spanned::new(addresses.join(","), span))
        })
        .collect()
}

fn check(host: &str, span: Span, problems: &mut Diagnostics) {
    if host.is_empty() || host.contains([':', '=']) {
        problems.push(invalid(
            format!("`{host}` is not a valid name for a host"),
            span,
        ));
    }
}

fn invalid(message: String, span: Span) -> Diagnostic {
    Diagnostic::error(Class::Definition, "compose::invalid-value", message).at(span, "")
}

/// Removes the brackets of an IPv6 address: `[::1]` becomes `::1`.
fn bare(address: &str) -> &str {
    let inner = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| !inner.is_empty()).unwrap_or(address)
}
