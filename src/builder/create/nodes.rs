//! How the nodes of a builder are added, changed and removed. The rules are buildx's (`store/nodegroup.go`).

use std::collections::BTreeMap;

use crate::builder::store::{Instance, Node};
use crate::types::{Platform, Secret};

/// What is to be set of a node. `None` and empty collections leave what an existing node has.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeWish {
    /// The node. `None` for a new one, whose name is then chosen.
    pub(super) name: Option<String>,
    pub(super) endpoint: String,
    /// Whether the user gave the endpoint. Otherwise an existing node keeps its own.
    pub(super) endpoint_given: bool,
    pub(super) platforms: Vec<Platform>,
    pub(super) driver_opts: BTreeMap<String, String>,
    pub(super) flags: Option<Vec<String>>,
    pub(super) files: BTreeMap<String, Secret<String>>,
}

/// Nodes cannot be changed in this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeError {
    /// The nodes of the builder are found when it is used.
    #[error("the nodes of `{0}` are found when it is used, so they cannot be changed")]
    Dynamic(String),
    /// The builder has no such node.
    #[error("the builder `{builder}` has no node `{node}`")]
    Unknown {
        /// The builder.
        builder: String,
        /// The node.
        node: String,
        /// The names of its nodes.
        known: Vec<String>,
    },
    /// Another node has this endpoint.
    #[error("the builder `{builder}` already has a node at `{endpoint}`")]
    Duplicate {
        /// The builder.
        builder: String,
        /// The endpoint, without credentials.
        endpoint: String,
    },
    /// The node is the only one.
    #[error("`{node}` is the last node of the builder `{builder}`")]
    Last {
        /// The builder.
        builder: String,
        /// The node.
        node: String,
    },
    /// Another builder, or this one, has a node whose container would have the same name.
    #[error(
        "`{0}` is not a valid name of a node (it must begin with a letter, and consist of letters, digits and `._-`)"
    )]
    Name(String),
}

/// Adds a node to `instance`, or changes one. With `append`, a node is added to those that are there. Returns whether an
/// existing node was changed in a way that takes effect only when it starts again.
pub(super) fn update(
    instance: &mut Instance,
    wish: NodeWish,
    append: bool,
) -> Result<bool, NodeError> {
    if instance.is_dynamic {
        return Err(NodeError::Dynamic(instance.name.clone()));
    }
    let at = wish
        .name
        .as_ref()
        .and_then(|name| instance.nodes.iter().position(|node| node.name == *name));
    let endpoint = wish.endpoint.clone();
    let (at, restarts) = match at {
        Some(at) => (at, change(instance, at, wish)),
        None if !append && !instance.nodes.is_empty() => {
            return Err(unknown(instance, wish.name.as_deref().unwrap_or_default()));
        }
        None => (add(instance, wish)?, false),
    };
    let same = instance
        .nodes
        .iter()
        .filter(|node| node.endpoint == endpoint);
    if same.count() > 1 {
        return Err(NodeError::Duplicate {
            builder: instance.name.clone(),
            endpoint: crate::types::secret::redact_url(&endpoint),
        });
    }
    // Each platform belongs to one node: the others lose those of the node that was set last.
    let taken = instance
        .nodes
        .get(at)
        .and_then(|node| node.platforms.clone());
    let taken = taken.unwrap_or_default();
    for (number, node) in instance.nodes.iter_mut().enumerate() {
        if number != at {
            let mut left = node.platforms.take().unwrap_or_default();
            left.retain(|platform| !taken.contains(platform));
            node.platforms = Some(left);
        }
    }
    Ok(restarts)
}

fn change(instance: &mut Instance, at: usize, wish: NodeWish) -> bool {
    let Some(node) = instance.nodes.get_mut(at) else {
        return false;
    };
    let mut restarts = false;
    if wish.endpoint_given {
        node.endpoint = wish.endpoint;
        restarts = true;
    }
    if !wish.platforms.is_empty() {
        node.platforms = Some(wish.platforms);
    }
    if wish.flags.is_some() {
        node.flags = wish.flags;
        restarts = true;
    }
    if !wish.driver_opts.is_empty() {
        node.driver_opts = wish.driver_opts;
        restarts = true;
    }
    if !wish.files.is_empty() {
        node.files.extend(wish.files);
        restarts = true;
    }
    restarts
}

fn add(instance: &mut Instance, wish: NodeWish) -> Result<usize, NodeError> {
    let name = match wish.name {
        Some(name) => crate::builder::store::valid_name(&name).ok_or(NodeError::Name(name))?,
        None => next_name(instance),
    };
    instance.nodes.push(Node {
        name,
        endpoint: wish.endpoint,
        platforms: (!wish.platforms.is_empty()).then_some(wish.platforms),
        driver_opts: wish.driver_opts,
        flags: wish.flags,
        files: wish.files,
    });
    Ok(instance.nodes.len() - 1)
}

/// The name of the builder with the first number that no node has.
fn next_name(instance: &Instance) -> String {
    let name = |number: usize| format!("{}{number}", instance.name).to_ascii_lowercase();
    let is_free = |name: &String| !instance.nodes.iter().any(|node| node.name == *name);
    // One more than there are nodes, so one of them is free.
    let mut names = (0..=instance.nodes.len()).map(name);
    names.find(is_free).unwrap_or_default()
}

/// Removes the node `node` from `instance`.
pub(super) fn leave(instance: &mut Instance, node: &str) -> Result<(), NodeError> {
    if instance.is_dynamic {
        return Err(NodeError::Dynamic(instance.name.clone()));
    }
    let Some(at) = instance.nodes.iter().position(|known| known.name == node) else {
        return Err(unknown(instance, node));
    };
    if instance.nodes.len() == 1 {
        return Err(NodeError::Last {
            builder: instance.name.clone(),
            node: node.to_owned(),
        });
    }
    instance.nodes.remove(at);
    Ok(())
}

fn unknown(instance: &Instance, node: &str) -> NodeError {
    NodeError::Unknown {
        builder: instance.name.clone(),
        node: node.to_owned(),
        known: instance
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str, endpoint: &str, platforms: &[&str]) -> NodeWish {
        NodeWish {
            name: (!name.is_empty()).then(|| name.to_owned()),
            endpoint: endpoint.to_owned(),
            endpoint_given: true,
            platforms: platforms.iter().map(|text| text.parse().unwrap()).collect(),
            ..NodeWish::default()
        }
    }

    fn ci() -> Instance {
        Instance {
            name: "Ci".to_owned(),
            driver: "remote".to_owned(),
            ..Instance::default()
        }
    }

    #[test]
    fn nodes_get_the_first_free_number() {
        let mut instance = ci();
        update(&mut instance, wish("", "a", &[]), false).unwrap();
        update(&mut instance, wish("", "b", &[]), true).unwrap();
        leave(&mut instance, "ci0").unwrap();
        update(&mut instance, wish("", "c", &[]), true).unwrap();
        let names: Vec<_> = instance.nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, ["ci1", "ci0"]);
    }

    #[test]
    fn a_platform_moves_to_the_node_that_was_set_last() {
        let mut instance = ci();
        update(
            &mut instance,
            wish("x", "a", &["linux/amd64", "linux/arm64"]),
            false,
        )
        .unwrap();
        update(&mut instance, wish("y", "b", &["linux/arm64"]), true).unwrap();
        let of = |at: usize| -> Vec<String> {
            let platforms = instance.nodes[at].platforms.iter().flatten();
            platforms.map(ToString::to_string).collect()
        };
        assert_eq!(of(0), ["linux/amd64"]);
        assert_eq!(of(1), ["linux/arm64"]);
    }

    #[test]
    fn an_existing_node_keeps_what_is_not_set() {
        let mut instance = ci();
        let first = NodeWish {
            flags: Some(vec!["--debug".to_owned()]),
            driver_opts: [("a".to_owned(), "b".to_owned())].into(),
            ..wish("x", "a", &["linux/amd64"])
        };
        assert!(!update(&mut instance, first, false).unwrap());
        let before = instance.nodes[0].clone();
        let nothing = NodeWish {
            name: Some("x".to_owned()),
            endpoint: "elsewhere".to_owned(),
            ..NodeWish::default()
        };
        assert!(!update(&mut instance, nothing, true).unwrap());
        assert_eq!(instance.nodes[0], before);
        assert!(update(&mut instance, wish("x", "b", &[]), true).unwrap());
        assert_eq!(instance.nodes[0].endpoint, "b");
    }

    #[test]
    fn duplicates_unknown_nodes_and_the_last_node_are_refused() {
        let mut instance = ci();
        update(&mut instance, wish("x", "a", &[]), false).unwrap();
        assert!(matches!(
            update(&mut instance.clone(), wish("y", "a", &[]), true),
            Err(NodeError::Duplicate { .. })
        ));
        assert!(matches!(
            update(&mut instance, wish("y", "b", &[]), false),
            Err(NodeError::Unknown { .. })
        ));
        assert!(matches!(
            leave(&mut instance, "y"),
            Err(NodeError::Unknown { .. })
        ));
        assert!(matches!(
            leave(&mut instance, "x"),
            Err(NodeError::Last { .. })
        ));
        assert!(matches!(
            update(&mut instance, wish("../x", "b", &[]), true),
            Err(NodeError::Name(_))
        ));
        instance.is_dynamic = true;
        assert!(matches!(
            leave(&mut instance, "x"),
            Err(NodeError::Dynamic(_))
        ));
    }
}
