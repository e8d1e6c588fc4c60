use super::*;
use proptest::prelude::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}")).collect()
}

/// A target for amd64, which all of `nodes` nodes can build.
fn target(name: &str, shared: &[&str], links: &[usize], nodes: usize) -> TargetToPlace {
    TargetToPlace {
        choices: TargetChoices {
            target: name.parse().unwrap(),
            choices: vec![PlatformChoice {
                platform: Some(platform("linux/amd64")),
                nodes: (0..nodes).collect(),
                is_matched: true,
            }],
        },
        own: PlacementKey::of(["target", name]),
        shared: shared
            .iter()
            .map(|key| PlacementKey::of(["steps", key]))
            .collect(),
        links: links.to_vec(),
    }
}

/// A memory in which each of `keys` was built for amd64 on a node.
fn memory(keys: &[(PlacementKey, &str)]) -> PlacementMemory {
    let mut memory = PlacementMemory::default();
    for (key, node) in keys {
        memory.note(key.of_platform(Some(&platform("linux/amd64"))), node, 1);
    }
    memory
}

fn own(name: &str) -> PlacementKey {
    PlacementKey::of(["target", name])
}

fn steps(name: &str) -> PlacementKey {
    PlacementKey::of(["steps", name])
}

fn placed(
    count: usize,
    targets: &[TargetToPlace],
    memory: &PlacementMemory,
) -> Vec<(usize, PlacementReason)> {
    let placed = by_locality(&names(count), targets, memory);
    placed
        .iter()
        .map(|target| (target.parts[0].node, target.parts[0].why.clone()))
        .collect()
}

#[test]
fn a_target_goes_where_it_was_built_last() {
    let targets = [target("a", &[], &[], 3), target("b", &[], &[], 3)];
    let memory = memory(&[(own("a"), "n2")]);
    assert_eq!(
        placed(3, &targets, &memory),
        [
            (2, PlacementReason::BuiltThere),
            (0, PlacementReason::Fewest)
        ]
    );
}

#[test]
fn a_new_target_goes_where_its_steps_are() {
    let targets = [
        target("a", &["x"], &[], 3),
        target("b", &["y"], &[], 3),
        target("c", &["y"], &[], 3),
    ];
    let memory = memory(&[(steps("x"), "n1")]);
    assert_eq!(
        placed(3, &targets, &memory),
        [
            (1, PlacementReason::SharesSteps),
            (0, PlacementReason::Fewest),
            (0, PlacementReason::SharesStepsNow)
        ]
    );
}

#[test]
fn linked_targets_stay_together() {
    let targets = [
        target("a", &[], &[], 2),
        target("base", &[], &[], 2),
        target("b", &[], &[1], 2),
        target("c", &[], &[2], 2),
    ];
    let found = placed(2, &targets, &memory(&[(own("c"), "n1"), (own("a"), "n0")]));
    assert_eq!(found[1], (1, PlacementReason::LinkedBuiltThere));
    assert_eq!(found[3], (1, PlacementReason::BuiltThere));
    assert_eq!(
        found.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
        [0, 1, 1, 1]
    );
}

#[test]
fn a_node_does_not_get_everything_because_it_had_everything() {
    let targets: Vec<_> = (0..8)
        .map(|number| target(&format!("t{number}"), &[], &[], 4))
        .collect();
    let keys: Vec<_> = (0..8)
        .map(|number| (own(&format!("t{number}")), "n0"))
        .collect();
    let found = placed(4, &targets, &memory(&keys));
    let on_first = found.iter().filter(|(node, _)| *node == 0).count();
    assert_eq!(on_first, 3);
    assert!(found.contains(&(1, PlacementReason::Full)));
}

#[test]
fn a_node_that_is_gone_is_forgotten() {
    let targets = [target("a", &[], &[], 2)];
    assert_eq!(
        placed(2, &targets, &memory(&[(own("a"), "gone")])),
        [(0, PlacementReason::Fewest)]
    );
}

#[test]
fn each_platform_has_a_node_of_its_own() {
    let mut both = target("a", &[], &[], 2);
    both.choices.choices.push(PlatformChoice {
        platform: Some(platform("linux/arm64")),
        nodes: vec![2],
        is_matched: true,
    });
    let found = by_locality(&names(3), &[both], &memory(&[(own("a"), "n1")]));
    let parts: Vec<_> = found[0]
        .parts
        .iter()
        .map(|part| (part.node, part.why.clone()))
        .collect();
    assert_eq!(
        parts,
        [(1, PlacementReason::BuiltThere), (2, PlacementReason::Only)]
    );
}

#[test]
fn a_target_is_not_divided_if_one_node_can_build_it() {
    let mut both = target("a", &[], &[], 2);
    let arm64 = PlatformChoice {
        platform: Some(platform("linux/arm64")),
        ..both.choices.choices[0].clone()
    };
    both.choices.choices.push(arm64);
    let others = [target("b", &[], &[], 2), both];
    let found = by_locality(&names(2), &others, &PlacementMemory::default());
    let nodes: Vec<usize> = found[1].parts.iter().map(|part| part.node).collect();
    assert_eq!(nodes, [1, 1]);
}

#[test]
fn a_target_without_platforms_keeps_its_links_on_the_first_node() {
    let mut child = target("child", &[], &[0], 2);
    child.choices.choices = vec![PlatformChoice {
        platform: None,
        nodes: vec![0],
        is_matched: true,
    }];
    let targets = [target("base", &[], &[], 2), child];
    let found = placed(2, &targets, &memory(&[(own("base"), "n1")]));
    assert_eq!(
        found,
        [(0, PlacementReason::Only), (0, PlacementReason::First)]
    );
}

#[test]
fn targets_without_platforms_are_spread_and_return() {
    let without = |name: &str| {
        let mut target = target(name, &[], &[], 2);
        target.choices.choices[0].platform = None;
        target
    };
    let targets = ["a", "b"].map(without);
    let mut memory = PlacementMemory::default();
    let first = by_locality(&names(2), &targets, &memory);
    let nodes: Vec<usize> = first.iter().map(|placed| placed.parts[0].node).collect();
    assert_eq!(nodes, [0, 1]);
    memory.note_all(&names(2), &targets, &first, 1);
    let turned = ["b", "a"].map(without);
    assert_eq!(
        placed(2, &turned, &memory),
        [
            (1, PlacementReason::BuiltThere),
            (0, PlacementReason::BuiltThere)
        ]
    );
}

fn any_targets() -> impl Strategy<Value = (usize, Vec<TargetToPlace>, PlacementMemory)> {
    let one = (
        0..6_usize,
        proptest::option::of(0..20_usize),
        proptest::option::of(0..5_usize),
    );
    (1..6_usize, proptest::collection::vec(one, 1..30)).prop_map(|(nodes, parts)| {
        let mut known = Vec::new();
        let mut targets = Vec::new();
        for (number, (steps, link, node)) in parts.iter().enumerate() {
            let name = format!("t{number}");
            let links: Vec<usize> = link.iter().copied().filter(|link| *link < number).collect();
            targets.push(target(&name, &[&format!("s{steps}")], &links, nodes));
            known.extend(node.map(|node| (own(&name), node)));
        }
        let mut memory = PlacementMemory::default();
        for (key, node) in known {
            memory.note(
                key.of_platform(Some(&platform("linux/amd64"))),
                &format!("n{node}"),
                1,
            );
        }
        (nodes, targets, memory)
    })
}

proptest! {
    #[test]
    fn every_target_has_a_node_that_can_build_it_and_links_do_not_cross_nodes((nodes, targets, memory) in any_targets()) {
        let found = by_locality(&names(nodes), &targets, &memory);
        prop_assert_eq!(found.len(), targets.len());
        for (target, placed) in targets.iter().zip(&found) {
            prop_assert!(placed.parts[0].node < nodes);
            for link in &target.links {
                prop_assert_eq!(found[*link].parts[0].node, placed.parts[0].node);
            }
        }
        prop_assert_eq!(by_locality(&names(nodes), &targets, &memory), found);
    }

    #[test]
    fn a_second_run_of_the_same_targets_places_them_as_the_first((nodes, targets, _) in any_targets()) {
        let first = by_locality(&names(nodes), &targets, &PlacementMemory::default());
        let mut memory = PlacementMemory::default();
        memory.note_all(&names(nodes), &targets, &first, 1);
        let again = by_locality(&names(nodes), &targets, &memory);
        for (target, (one, other)) in targets.iter().zip(first.iter().zip(&again)) {
            // A group of links that is larger than a share may move once, when it is no longer the first on its node.
            if target.links.is_empty() && targets.iter().all(|other| other.links.is_empty()) {
                prop_assert_eq!(one.parts[0].node, other.parts[0].node);
            }
        }
    }
}
