//! Makes a case from a seed.
//!
//! Choices are weighted so that most definitions are valid, because a failure hides all other differences. Functions whose
//! results change from run to run or from machine to machine are left out: `timestamp`, `uuidv4`, `bcrypt`. Start at [`case`].

mod attributes;
mod blocks;
mod command;
mod compose;
mod document;
mod expression;
mod functions;
mod hcl;
mod json;
mod mutate;
mod template;
mod words;

use crate::Case;
use blocks::Variable;
use document::{Attribute, Block, Document, Key, Value};
use expression::{Kind, Maker};

pub(crate) use mutate::tokens;

/// The case of a seed.
pub fn case(seed: u64) -> Case {
    let mut maker = Maker::new(seed);
    let mut case = Case::default();
    for (name, text) in [
        ("secret.txt", "secret"),
        ("sub/key", "key"),
        ("key.pem", "not a key"),
    ] {
        case.files.insert(name.to_owned(), text.to_owned());
    }
    match maker.random.weighted(&[45, 25, 15, 15]) {
        0 => project(&mut maker, &mut case),
        1 => probes(&mut maker, &mut case),
        2 => inheritance(&mut maker, &mut case),
        _ => attributes(&mut maker, &mut case),
    }
    if maker.random.percent(12) {
        let definitions: Vec<String> = case
            .files
            .keys()
            .filter(|name| name.contains("bake"))
            .cloned()
            .collect();
        if !definitions.is_empty() {
            let name = maker.random.pick(&definitions).clone();
            if let Some(text) = case.files.get_mut(&name) {
                *text = mutate::mutate(text, &mut maker.random);
            }
        }
    }
    case
}

/// The case with Compose files of a seed.
pub fn compose_case(seed: u64) -> Case {
    let mut maker = Maker::new(seed);
    let mut case = Case::default();
    case.files
        .insert("secret.txt".to_owned(), "secret".to_owned());
    maker.compose(&mut case);
    if maker.random.percent(8) {
        let names: Vec<String> = case
            .files
            .keys()
            .filter(|name| name.contains(".y"))
            .cloned()
            .collect();
        let name = maker.random.pick(&names).clone();
        if let Some(text) = case.files.get_mut(&name) {
            *text = mutate::mutate(text, &mut maker.random);
        }
    }
    case
}

// Some of everything.
fn project(maker: &mut Maker, case: &mut Case) {
    choose_targets(maker, 4);
    let mut blocks = Vec::new();
    let mut variables = Vec::new();
    for _ in 0..maker.random.below(4) {
        let (block, variable) = maker.variable();
        blocks.push(block);
        variables.push(variable);
    }
    for _ in 0..maker.random.weighted(&[5, 3, 1]) {
        blocks.push(maker.function());
    }
    maker.references = maker.random.percent(35);
    for _ in 0..maker.random.weighted(&[3, 4, 2, 1]) {
        blocks.push(maker.group());
    }
    let most = if maker.targets.len() > 2 { 5 } else { 8 };
    for name in maker.targets.clone() {
        blocks.push(maker.target(&name, most));
    }
    if maker.random.percent(2) {
        blocks.push(Block::new("unknown", "x").with("a", Value::Number("1".to_owned())));
    }
    let globals = globals(maker);
    outside(maker, case, &variables);
    distribute(maker, case, blocks, globals);
    maker.command(case);
}

// Expressions that are evaluated one by one, so that one that fails does not hide others.
fn probes(maker: &mut Maker, case: &mut Case) {
    maker.targets.push("default".to_owned());
    maker.wildness = *maker.random.pick(&[0, 15, 60]);
    maker.probing = true;
    let mut blocks = Vec::new();
    let mut variables = Vec::new();
    for _ in 0..maker.random.below(3) {
        let (block, variable) = maker.variable();
        blocks.push(block);
        variables.push(variable);
    }
    if maker.random.percent(30) {
        blocks.push(maker.function());
    }
    let entries = (0..maker.random.between(4, 10)).map(|place| {
        let depth = maker.random.between(1, 3);
        let expression = match maker.random.below(4) {
            0 => maker.any(depth),
            1 => format!("\"{}\"", maker.template(depth)),
            _ => maker.call(None, depth),
        };
        // This does not help with an unknown name, which fails in buildx even within `try`.
        (
            Key::Text(format!("v{place}")),
            Value::Expression(format!("try(jsonencode({expression}), \"fails\")")),
        )
    });
    let args = Value::Object(entries.collect());
    blocks.push(Block::new("target", "default").with("args", args));
    outside(maker, case, &variables);
    distribute(maker, case, blocks, Vec::new());
}

// Many targets and groups with little in them.
fn inheritance(maker: &mut Maker, case: &mut Case) {
    choose_targets(maker, 7);
    let names = maker.targets.clone();
    let mut blocks = Vec::new();
    for _ in 0..maker.random.below(4) {
        blocks.push(maker.group());
    }
    for (place, name) in names.iter().enumerate() {
        let mut block = maker.target(name, 3);
        let earlier = if maker.random.percent(90) {
            &names[..place]
        } else {
            &names[..]
        };
        if !earlier.is_empty()
            && maker.random.percent(65)
            && block.attributes.iter().all(|a| a.name != "inherits")
        {
            let parents: Vec<String> = (0..maker.random.between(1, 3))
                .map(|_| maker.random.pick(earlier).clone())
                .collect();
            block.set("inherits", Value::texts(parents));
        }
        if maker.random.percent(25) {
            let linked = maker.random.pick(&names).clone();
            let contexts = Value::Object(vec![(
                Key::Text("l".to_owned()),
                Value::text(format!("target:{linked}")),
            )]);
            block.attributes.retain(|a| a.name != "contexts");
            block.set("contexts", contexts);
        }
        blocks.push(block);
    }
    distribute(maker, case, blocks, Vec::new());
    maker.command(case);
}

// One or two targets with much in them, and overrides.
fn attributes(maker: &mut Maker, case: &mut Case) {
    choose_targets(maker, 2);
    let mut blocks = Vec::new();
    for name in maker.targets.clone() {
        blocks.push(maker.target(&name, 9));
    }
    distribute(maker, case, blocks, Vec::new());
    maker.command(case);
}

fn choose_targets(maker: &mut Maker, most: usize) {
    let count = maker.random.between(1, most);
    for _ in 0..count {
        let pool = if maker.random.below(200) == 0 {
            words::ODD_NAMES
        } else {
            words::TARGETS
        };
        let name = (*maker.random.pick(pool)).to_owned();
        // A name that occurs twice makes two blocks, which are merged.
        if !maker.targets.contains(&name) || maker.random.percent(60) {
            maker.targets.push(name);
        }
    }
}

fn globals(maker: &mut Maker) -> Vec<Attribute> {
    let mut globals = Vec::new();
    for _ in 0..maker.random.weighted(&[8, 2, 1]) {
        let kind = maker.kind();
        let name = (*maker.random.pick(&["glob", "V", "TAG", "other"])).to_owned();
        if !globals.iter().any(|a: &Attribute| a.name == name) || maker.wild() {
            let value = Value::Expression(maker.of(kind, 2));
            globals.push(Attribute { name, value });
        }
    }
    globals
}

fn outside(maker: &mut Maker, case: &mut Case, variables: &[Variable]) {
    for variable in variables {
        let composite = variable.ty.is_none()
            && matches!(variable.kind, Kind::Texts | Kind::Map | Kind::Numbers);
        if maker
            .random
            .percent(if composite || variable.ty == Some("any") {
                3
            } else {
                30
            })
        {
            maker.outside_value(variable, case);
        }
    }
    if maker.random.percent(3) {
        let flag = maker.choose(&[
            "X=1",
            "",
            "!novalue",
            "!=x",
            "BAKE_LOCAL_PLATFORM=x",
            "UNDEFINED=1",
        ]);
        case.args.extend(["--var".to_owned(), flag.to_owned()]);
    }
}

// Puts the blocks into files, and names the files on the command line if they need it.
fn distribute(
    maker: &mut Maker,
    case: &mut Case,
    mut blocks: Vec<Block>,
    attributes: Vec<Attribute>,
) {
    if maker.random.percent(40) {
        for place in (1..blocks.len()).rev() {
            let other = maker.random.below(place + 1);
            blocks.swap(place, other);
        }
    }
    let count = maker.random.weighted(&[0, 16, 3, 1]);
    let mut documents = vec![Document::default(); count];
    for block in blocks {
        let place = maker.random.below(count);
        documents[place].blocks.push(block);
    }
    documents[0].attributes = attributes;
    let mut names = Vec::new();
    let defaults = [
        "docker-bake.json",
        "docker-bake.hcl",
        "docker-bake.override.json",
        "docker-bake.override.hcl",
    ];
    let named = maker.random.percent(30);
    for (place, document) in documents.iter().enumerate() {
        let json = maker.random.percent(25);
        let text = if json {
            json::write(document, &mut maker.random)
        } else {
            hcl::write(document, &mut maker.random)
        };
        let name = if named {
            let name = *maker.random.pick(if json {
                &["bake.json", "sub/bake.json", "bake"]
            } else {
                &["bake.hcl", "sub/bake.hcl", "bake", "my.bake.HCL"]
            });
            format!(
                "{name}{}",
                if place == 0 || name.ends_with("HCL") {
                    String::new()
                } else {
                    format!("{place}.{}", if json { "json" } else { "hcl" })
                }
            )
        } else {
            let fitting: Vec<&str> = defaults
                .iter()
                .copied()
                .filter(|name| name.ends_with("json") == json && !case.files.contains_key(*name))
                .collect();
            match fitting.first() {
                Some(name) => (*name).to_owned(),
                None => continue,
            }
        };
        case.files.insert(name.clone(), text);
        names.push(name);
    }
    if named {
        name_files(maker, case, &names);
    }
}

fn name_files(maker: &mut Maker, case: &mut Case, names: &[String]) {
    if maker.random.percent(15)
        && let [only] = names
        && let Some(text) = case.files.remove(only)
    {
        case.stdin = text;
        case.args.extend(["-f".to_owned(), "-".to_owned()]);
        return;
    }
    if maker.random.percent(15) {
        case.environment
            .push(("BUILDX_BAKE_FILE".to_owned(), names.join(":")));
        return;
    }
    for name in names {
        let prefix = if maker.random.percent(5) {
            "cwd://"
        } else {
            ""
        };
        case.args
            .extend(["-f".to_owned(), format!("{prefix}{name}")]);
    }
    if maker.random.percent(1) {
        case.args
            .extend(["-f".to_owned(), "missing.hcl".to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same() {
        for seed in 0..200 {
            assert_eq!(case(seed), case(seed));
        }
        assert_ne!(case(1), case(2));
    }
}
