//! Which nodes can build a platform.
//!
//! The rules are those of buildx v0.36.1 (`build/resolver/resolver.go`). If the platforms that the user has fixed for the nodes
//! cover all platforms of all targets exactly, they decide, and no node is asked. Otherwise all nodes are asked for the platforms of
//! their workers, and a node can also build what its platforms run, such as `linux/386` on `linux/amd64`. If no node can build a
//! platform, the first one tries it. The order of platforms that can run another one is that of containerd
//! (`platforms.Only`, `platforms.OnlyStrict`).
//!
//! In buildx, the first node builds all targets without platforms. Here, another one may as well, if the platform for which it builds
//! them is the same.

use crate::types::{Platform, TargetName};

/// The platforms of a target, in the order of the definition. Without any, the node decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetPlatforms {
    /// The target.
    pub(crate) target: TargetName,
    /// Its platforms.
    pub(crate) platforms: Vec<Platform>,
}

/// The platforms of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodePlatforms {
    /// Those that the user has fixed.
    pub(crate) fixed: Vec<Platform>,
    /// Those that its workers report. Empty if it was not asked.
    pub(crate) reported: Vec<Platform>,
}

/// The nodes that can build one platform of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformChoice {
    /// The platform. `None` if the target names none.
    pub(crate) platform: Option<Platform>,
    /// The nodes that can build it equally well, by their positions. The first one is buildx's choice. Never empty.
    pub(crate) nodes: Vec<usize>,
    /// Whether a node has said that it can. If not, the first node tries it.
    pub(crate) is_matched: bool,
}

/// The nodes that can build a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetChoices {
    /// The target.
    pub(crate) target: TargetName,
    /// One entry for each platform, or one for a target without platforms.
    pub(crate) choices: Vec<PlatformChoice>,
}

/// The nodes for `targets` by the platforms that are fixed. `None` if these do not cover all platforms, or there may be several nodes for
/// targets without platforms.
pub(crate) fn candidates_by_fixed(
    nodes: &[NodePlatforms],
    targets: &[TargetPlatforms],
) -> Option<Vec<TargetChoices>> {
    let is_open = |node: &NodePlatforms| node.fixed.is_empty();
    let has_any = |target: &TargetPlatforms| !target.platforms.is_empty();
    if nodes.iter().skip(1).any(is_open) && !targets.iter().all(has_any) {
        return None;
    }
    let fixed: Vec<Vec<&Platform>> = nodes
        .iter()
        .map(|node| node.fixed.iter().collect())
        .collect();
    let found = targets
        .iter()
        .map(|target| choices(target, &fixed, &[0], Matching::Strict));
    let found: Vec<TargetChoices> = found.collect();
    let mut all = found.iter().flat_map(|target| &target.choices);
    all.all(|choice| choice.is_matched).then_some(found)
}

/// The nodes for `targets` by all platforms that are known.
pub(crate) fn candidates_by_all(
    nodes: &[NodePlatforms],
    targets: &[TargetPlatforms],
) -> Vec<TargetChoices> {
    let all = nodes
        .iter()
        .map(|node| node.fixed.iter().chain(&node.reported).collect());
    let all: Vec<Vec<&Platform>> = all.collect();
    let like_first = like_first(nodes);
    let found = targets
        .iter()
        .map(|target| choices(target, &all, &like_first, Matching::Loose));
    found.collect()
}

/// The nodes that build targets without platforms for the same platform as the first one, which comes first. That is the first
/// platform that a node reports (`Workers[0].Platforms[0]` in the Dockerfile frontend).
fn like_first(nodes: &[NodePlatforms]) -> Vec<usize> {
    let default = nodes.first().and_then(|node| node.reported.first());
    let is_like_it = |node: &NodePlatforms| {
        let Some((default, own)) = default.zip(node.reported.first()) else {
            return false;
        };
        // The user may have meant a node only for other platforms.
        let mut fixed = node.fixed.iter();
        let is_meant = node.fixed.is_empty() || fixed.any(|platform| is_same(platform, own));
        is_meant && is_same(own, default)
    };
    let others = nodes.iter().enumerate().skip(1);
    let others = others.filter(|(_, node)| is_like_it(node));
    let others = others.map(|(number, _)| number);
    std::iter::once(0).chain(others).collect()
}

/// Which platforms a platform of a node builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matching {
    /// Itself.
    Strict,
    /// Also those that its processor runs.
    Loose,
}

/// `without` are the nodes for a target without platforms.
fn choices(
    target: &TargetPlatforms,
    nodes: &[Vec<&Platform>],
    without: &[usize],
    matching: Matching,
) -> TargetChoices {
    let choices = if target.platforms.is_empty() {
        vec![PlatformChoice {
            platform: None,
            nodes: without.to_vec(),
            is_matched: true,
        }]
    } else {
        let platforms = target.platforms.iter();
        platforms
            .map(|wanted| choice(wanted, nodes, matching))
            .collect()
    };
    TargetChoices {
        target: target.target.clone(),
        choices,
    }
}

fn choice(wanted: &Platform, nodes: &[Vec<&Platform>], matching: Matching) -> PlatformChoice {
    let mut best: Option<(usize, &Platform)> = None;
    for (number, platforms) in nodes.iter().enumerate() {
        for &platform in platforms {
            let runs = vector(platform, matching);
            if !runs.iter().any(|runs| is_same(runs, wanted)) {
                continue;
            }
            if best.is_none_or(|(_, best)| is_less(&runs, wanted, best)) {
                best = Some((number, platform));
            }
        }
    }
    let Some((first, best)) = best else {
        return PlatformChoice {
            platform: Some(wanted.clone()),
            nodes: vec![0],
            is_matched: false,
        };
    };
    let equal = nodes.iter().enumerate();
    let equal = equal.filter(|(number, platforms)| {
        *number != first && platforms.iter().any(|platform| is_same(platform, best))
    });
    let equal = equal.map(|(number, _)| number);
    PlatformChoice {
        platform: Some(wanted.clone()),
        nodes: std::iter::once(first).chain(equal).collect(),
        is_matched: true,
    }
}

/// Whether `one` comes before `other` in `order`.
fn is_less(order: &[Platform], one: &Platform, other: &Platform) -> bool {
    for platform in order {
        match (is_same(platform, one), is_same(platform, other)) {
            (true, false) => return true,
            (false, false) => {}
            _ => return false,
        }
    }
    false
}

/// Whether the platforms are the same. As in containerd, versions of systems other than Windows do not count.
fn is_same(one: &Platform, other: &Platform) -> bool {
    one.os == other.os
        && one.architecture == other.architecture
        && one.variant == other.variant
        && (one.os != "windows"
            || one.os_options.is_empty()
            || other.os_options.is_empty()
            || one.os_options == other.os_options)
}

/// The platforms that `platform` builds, the best first.
fn vector(platform: &Platform, matching: Matching) -> Vec<Platform> {
    if matching == Matching::Strict {
        return vec![platform.clone()];
    }
    let with = |architecture: &str, variant: String| Platform {
        architecture: architecture.to_owned(),
        variant,
        ..platform.clone()
    };
    let number = |variant: &str| variant.strip_prefix('v')?.parse::<u32>().ok();
    // An absurd number must not make a long list.
    let below = |variant: &str, lowest: u32| {
        let number = number(variant).unwrap_or_default().min(64);
        (lowest..number).rev()
    };
    let mut vector = vec![platform.clone()];
    match platform.architecture.as_str() {
        "amd64" => {
            // The normal form of the first version has no variant.
            let lower = below(&platform.variant, 1).map(|version| match version {
                1 => String::new(),
                version => format!("v{version}"),
            });
            vector.extend(lower.map(|variant| with("amd64", variant)));
            vector.push(with("386", String::new()));
        }
        "arm" => {
            let lower = below(&platform.variant, 5);
            vector.extend(lower.map(|version| with("arm", format!("v{version}"))));
        }
        "arm64" => {
            let Some(versions) = arm64_versions(&platform.variant) else {
                return Vec::new();
            };
            vector = versions
                .into_iter()
                .map(|variant| with("arm64", variant))
                .collect();
            let of_arm = (5..=8).rev();
            vector.extend(of_arm.map(|version| with("arm", format!("v{version}"))));
        }
        _ => {}
    }
    vector
}

/// The versions of arm64 that `variant` runs: v9.n is v8.(n+5) and more. `None` if it is unknown.
fn arm64_versions(variant: &str) -> Option<Vec<String>> {
    let text = variant.strip_prefix('v').unwrap_or("8");
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    let down = |major: u32, minor: u32| {
        (0..=minor).rev().map(move |minor| match (major, minor) {
            // The normal form.
            (8, 0) => String::new(),
            (major, 0) => format!("v{major}"),
            (major, minor) => format!("v{major}.{minor}"),
        })
    };
    match (major, minor) {
        (8, 0..=9) => Some(down(8, minor).collect()),
        (9, 0..=7) => {
            let of_eight = (minor + 5).min(9);
            Some(down(9, minor).chain(down(8, of_eight)).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn platforms(text: &str) -> Vec<Platform> {
        text.split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect()
    }

    fn target(text: &str) -> TargetPlatforms {
        TargetPlatforms {
            target: "t".parse().unwrap(),
            platforms: platforms(text),
        }
    }

    fn nodes(of: &[(&str, &str)]) -> Vec<NodePlatforms> {
        let node = |(fixed, reported): &(&str, &str)| NodePlatforms {
            fixed: platforms(fixed),
            reported: platforms(reported),
        };
        of.iter().map(node).collect()
    }

    fn found(choices: &[TargetChoices]) -> Vec<Vec<usize>> {
        let choices = choices.iter().flat_map(|target| &target.choices);
        choices.map(|choice| choice.nodes.clone()).collect()
    }

    #[test]
    fn fixed_platforms_decide_if_they_cover_all_targets() {
        let nodes = nodes(&[("linux/amd64", ""), ("linux/arm64 linux/arm/v7", "")]);
        let targets = [
            target("linux/arm64 linux/amd64"),
            target("linux/arm"),
            target(""),
        ];
        let choices = candidates_by_fixed(&nodes, &targets).unwrap();
        assert_eq!(found(&choices), [[1], [0], [1], [0]]);
        // A variant that the node's processor would run is not exact.
        assert_eq!(candidates_by_fixed(&nodes, &[target("linux/386")]), None);
        assert_eq!(
            candidates_by_fixed(&nodes, &[target("linux/arm64"), target("linux/s390x")]),
            None
        );
    }

    // The expectations of buildx's own tests (`build/resolver/resolver_test.go`) for the same nodes.
    #[test_case(&[("linux/amd64", ""), ("linux/beta", "")], "linux/beta", &[1]; "an unknown architecture")]
    #[test_case(&[("linux/arm64", ""), ("linux/arm/v8", "")], "linux/arm/v8", &[1]; "a variant is better where it is itself")]
    #[test_case(&[("linux/arm64", ""), ("linux/arm/v8", "")], "linux/arm/v7", &[1]; "a variant is nearer to another than another architecture")]
    #[test_case(&[("linux/amd64/v3", ""), ("linux/amd64", "")], "linux/amd64", &[1]; "the plain processor is better")]
    #[test_case(&[("linux/amd64", ""), ("linux/amd64", "")], "linux/amd64", &[0, 1]; "equal nodes")]
    #[test_case(&[("", "linux/amd64 linux/386"), ("", "linux/arm64 linux/amd64")], "linux/amd64", &[0, 1]; "reported platforms")]
    #[test_case(&[("", "linux/amd64 linux/arm64"), ("linux/arm64", "")], "linux/arm64", &[0, 1]; "fixed and reported platforms count the same")]
    #[test_case(&[("", "linux/amd64"), ("", "linux/arm64/v9.2")], "linux/arm64/v8.4", &[1]; "a version that runs an older one")]
    #[test_case(&[("", "linux/amd64"), ("", "linux/arm64")], "linux/riscv64", &[0]; "nobody")]
    fn a_platform_goes_to_the_nodes_that_build_it_best(
        of: &[(&str, &str)],
        wanted: &str,
        expected: &[usize],
    ) {
        let choices = candidates_by_all(&nodes(of), &[target(wanted)]);
        assert_eq!(found(&choices), [expected.to_vec()]);
    }

    #[test]
    fn the_first_node_tries_what_nobody_builds() {
        let choices = candidates_by_all(
            &nodes(&[("linux/amd64", ""), ("linux/arm64", "")]),
            &[target("linux/riscv64 linux/amd64")],
        );
        let matched: Vec<bool> = choices[0]
            .choices
            .iter()
            .map(|choice| choice.is_matched)
            .collect();
        assert_eq!(matched, [false, true]);
    }

    #[test_case(&[("", "linux/amd64 linux/386"), ("", "linux/amd64 linux/arm64")], &[0, 1]; "the same default")]
    #[test_case(&[("", "linux/amd64"), ("", "linux/arm64 linux/amd64")], &[0]; "another default")]
    #[test_case(&[("", "linux/amd64"), ("", "linux/amd64/v3"), ("", "linux/amd64")], &[0, 2]; "a better processor")]
    #[test_case(&[("linux/amd64", "linux/amd64"), ("", "linux/amd64"), ("linux/arm64", "linux/amd64")], &[0, 1]; "a node that is meant for another platform")]
    #[test_case(&[("", ""), ("", "linux/amd64")], &[0]; "a first node that says nothing")]
    fn a_target_without_platforms_goes_to_nodes_with_the_same_default(
        of: &[(&str, &str)],
        expected: &[usize],
    ) {
        let nodes = nodes(of);
        let choices = candidates_by_all(&nodes, &[target("")]);
        assert_eq!(found(&choices), [expected.to_vec()]);
        // The platforms that are fixed do not say what the other nodes are like.
        assert_eq!(candidates_by_fixed(&nodes, &[target("")]), None);
    }

    #[test]
    fn nodes_for_other_platforms_are_not_asked_for_targets_without() {
        let nodes = nodes(&[("linux/amd64", ""), ("linux/arm64", "")]);
        let choices = candidates_by_fixed(&nodes, &[target("")]).unwrap();
        assert_eq!(found(&choices), [[0]]);
    }

    proptest::proptest! {
        #[test]
        fn each_choice_is_a_node_and_the_first_is_the_one_of_buildx(
            fixed in proptest::collection::vec(proptest::sample::subsequence(vec!["linux/amd64", "linux/amd64/v2", "linux/arm64", "linux/arm/v7", "linux/386"], 0..4), 1..5),
            wanted in proptest::sample::select(vec!["linux/amd64", "linux/386", "linux/arm64", "linux/arm/v6", "linux/amd64/v3"]),
        ) {
            let nodes: Vec<NodePlatforms> = fixed.iter().map(|fixed| NodePlatforms { fixed: platforms(&fixed.join(" ")), reported: Vec::new() }).collect();
            let choices = candidates_by_all(&nodes, &[target(wanted)]);
            let choice = &choices[0].choices[0];
            proptest::prop_assert!(choice.nodes.iter().all(|node| *node < nodes.len()));
            let distinct: std::collections::BTreeSet<_> = choice.nodes.iter().collect();
            proptest::prop_assert_eq!(distinct.len(), choice.nodes.len());
            let strict = candidates_by_fixed(&nodes, &[target(wanted)]);
            if let Some(strict) = strict {
                proptest::prop_assert_eq!(&strict[0].choices[0].nodes, &choice.nodes);
            }
        }
    }
}
