//! Makes random cases. A case depends only on its seed.

use std::collections::BTreeMap;

use super::case::{Case, Ignore, Kind, Node, Output, Place, join};
use super::dice::Dice;
use super::oracle;

const PLAIN: [&[u8]; 10] = [
    b"a", b"b.txt", b"lib", b"src", b"main.rs", b"a.whl", b"data", b"key", b"sub", b"x",
];
const ODD: [&[u8]; 13] = [
    b"with space",
    b"!bang",
    b"#hash",
    b"[1]",
    b"st*r",
    b"back\\slash",
    b"new\nline",
    b"\xc3\xa9t\xc3\xa9",
    b"bad\xff",
    b" blank",
    b"tail ",
    b"bell\x07",
    &[b'l'; 255],
];

/// The case of `seed`.
pub(super) fn case(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let mut case = Case {
        tree: BTreeMap::new(),
        place: Place::Context,
        output: Output::Tar,
        ignore: Ignore::None,
        lines: Vec::new(),
        copies: Vec::new(),
    };
    for _ in 0..4 + dice.below(9) {
        entry(&mut case.tree, &mut dice);
    }
    links(&mut case.tree, &mut dice);
    denied(&mut case.tree, &mut dice);
    ignore(&mut case, &mut dice);
    for _ in 0..=dice.below(2) {
        let sources = (0..=dice.below(3)).map(|_| source(&case.tree, &mut dice));
        let sources = sources.collect();
        case.copies.push(sources);
    }
    // A missing source always fails the build. Remove missing sources from most cases, so that they test more than that.
    if dice.percent(85) {
        let there: Vec<bool> = case
            .sources()
            .map(|source| oracle::is_there(&case, source))
            .collect();
        let mut there = there.into_iter();
        for sources in &mut case.copies {
            sources.retain(|_| there.next() == Some(true));
        }
        case.copies.retain(|sources| !sources.is_empty());
        if case.copies.is_empty() {
            case.copies.push(vec![".".to_owned()]);
        }
    }
    attributes(&mut case.tree, &mut dice);
    case.place = match dice.below(100) {
        // The Dockerfile's own ignore file applies only to the main context.
        _ if case.ignore == Ignore::Own => Place::Context,
        0..60 => Place::Context,
        60..85 => Place::Named,
        _ => Place::Both,
    };
    if dice.percent(30) {
        case.output = Output::Local;
    }
    case
}

// On Linux, only files and directories can have user attributes.
fn attributes(tree: &mut BTreeMap<Vec<u8>, Node>, dice: &mut Dice) {
    // `cap_net_bind_service=ep`, in the second version of the format.
    const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let values: [&[u8]; 5] = [b"", b"text", b"a=b\nc", b"\xff\0\xfe", &[b'v'; 300]];
    let chance = *dice.one(&[&0_usize, &0, &15, &40]);
    for node in tree.values_mut() {
        if !matches!(node.kind, Kind::Dir | Kind::File(_)) || !dice.percent(chance) {
            continue;
        }
        let name = dice.one(&["user.note", "user.b.c", "user.\u{e9}t\u{e9}"]);
        let value = dice.one(&values).to_vec();
        node.attributes.insert(name.to_owned(), value);
        if matches!(node.kind, Kind::File(_)) && dice.percent(20) {
            let name = "security.capability".to_owned();
            node.attributes.insert(name, CAPABILITY.to_vec());
        }
    }
}

fn name(dice: &mut Dice) -> Vec<u8> {
    if dice.percent(18) {
        dice.one(&ODD)
    } else {
        dice.one(&PLAIN)
    }
    .to_vec()
}

fn some(
    tree: &BTreeMap<Vec<u8>, Node>,
    dice: &mut Dice,
    wanted: impl Fn(&Kind) -> bool,
) -> Option<Vec<u8>> {
    let all: Vec<&Vec<u8>> = tree
        .iter()
        .filter(|(_, node)| wanted(&node.kind))
        .map(|(path, _)| path)
        .collect();
    (!all.is_empty()).then(|| all[dice.below(all.len())].clone())
}

fn add(tree: &mut BTreeMap<Vec<u8>, Node>, path: Vec<u8>, kind: Kind, mode: u32) {
    tree.entry(path).or_insert(Node::new(kind, mode));
}

fn entry(tree: &mut BTreeMap<Vec<u8>, Node>, dice: &mut Dice) {
    let shallow = |path: &[u8]| path.split(|b| *b == b'/').count() < 3;
    let dir =
        some(tree, dice, |kind| *kind == Kind::Dir).filter(|dir| shallow(dir) && dice.percent(75));
    let path = join(&dir.unwrap_or_default(), &name(dice));
    let content = format!("{}", dice.below(1_000_000)).into_bytes();
    match dice.below(100) {
        0..42 => add(
            tree,
            path,
            Kind::Dir,
            if dice.percent(10) { 0o2755 } else { 0o755 },
        ),
        42..85 => {
            let mode = [0o644, 0o755, 0o600, 0o4755][dice.below(4)];
            let content = if dice.percent(10) {
                Vec::new()
            } else {
                content
            };
            add(tree, path, Kind::File(content), mode);
        }
        85..90 => {
            if let Some(first) = some(tree, dice, |kind| matches!(kind, Kind::File(_))) {
                add(tree, path, Kind::Hard(first), 0);
            }
        }
        90..94 => add(tree, path, Kind::Pipe, 0o640),
        94..96 => add(tree, path, Kind::Device, 0o600),
        _ => add(tree, path, Kind::Socket, 0o755),
    }
}

fn links(tree: &mut BTreeMap<Vec<u8>, Node>, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let dir = some(tree, dice, |kind| *kind == Kind::Dir)
            .filter(|_| dice.percent(40))
            .unwrap_or_default();
        let up = b"../".repeat(if dir.is_empty() {
            0
        } else {
            dir.split(|b| *b == b'/').count()
        });
        let inside = some(tree, dice, |_| true).unwrap_or_else(|| b"a".to_vec());
        let target = match dice.below(10) {
            0..5 => [&up[..], &inside].concat(),
            5 => [b"/", &inside[..]].concat(),
            6 => b"../../outside".to_vec(),
            7 => b"/etc/hostname".to_vec(),
            8 => b"nowhere".to_vec(),
            _ => b".".to_vec(),
        };
        let own = dice
            .one(&[&b"link"[..], b"l2", b"current", b"loop"])
            .to_vec();
        let target = if own == b"loop" && dice.percent(50) {
            own.clone()
        } else {
            target
        };
        add(tree, join(&dir, &own), Kind::Link(target), 0o777);
    }
}

// Makes root the owner of some entries, with modes that decide what the user may do.
fn denied(tree: &mut BTreeMap<Vec<u8>, Node>, dice: &mut Dice) {
    let chance = dice.one(&[&0_usize, &8, &20]).to_owned();
    for node in tree.values_mut() {
        if !dice.percent(chance) {
            continue;
        }
        match node.kind {
            Kind::Dir => node.mode = [0o700, 0o711, 0o744, 0o750, 0][dice.below(5)],
            Kind::File(_) => node.mode = [0o600, 0o640, 0o644, 0][dice.below(4)],
            Kind::Hard(_) | Kind::Link(_) => {}
            Kind::Pipe | Kind::Socket | Kind::Device => node.mode = 0o600,
        }
        node.of_root = true;
    }
}

fn ignore(case: &mut Case, dice: &mut Dice) {
    use Ignore::{
        BadByte, BadPattern, Control, Dangling, Directory, File, LinkInside, LinkOutside, Loop,
        None, Own, Pipe, Socket, Unreadable,
    };
    let unusable = [
        LinkOutside,
        Dangling,
        Loop,
        Directory,
        Pipe,
        Socket,
        Unreadable,
        BadPattern,
        BadByte,
        Control,
    ];
    case.ignore = match dice.below(100) {
        0..38 => None,
        38..80 => File,
        80..85 => Own,
        85..90 => LinkInside,
        _ => unusable[dice.below(unusable.len())],
    };
    if case.ignore == None {
        return;
    }
    for _ in 0..=dice.below(4) {
        let line = line(&case.tree, dice);
        case.lines.push(line);
    }
    match case.ignore {
        BadPattern => case
            .lines
            .push(dice.one(&[&b"[a"[..], b"!", b"\\q*", b"x\\"]).to_vec()),
        BadByte => case.lines.push(b"key\xff".to_vec()),
        Control => {
            case.lines.retain(|line| line.is_ascii());
            case.lines.push(b"be\x07ll".to_vec());
        }
        _ => {}
    }
    // Most forms are an entry of the context.
    let (kind, mode) = match case.ignore {
        File | Unreadable | BadPattern | BadByte | Control => (Kind::File(case.text()), 0o644),
        LinkInside => (Kind::Link(b"ignore/file".to_vec()), 0o777),
        LinkOutside => (Kind::Link(b"../shared-ignore".to_vec()), 0o777),
        Dangling => (Kind::Link(b"ignore/none".to_vec()), 0o777),
        Loop => (Kind::Link(b".dockerignore".to_vec()), 0o777),
        Directory => (Kind::Dir, 0o755),
        Pipe => (Kind::Pipe, 0o644),
        Socket => (Kind::Socket, 0o755),
        None | Own => return,
    };
    let of_root = case.ignore == Unreadable;
    let mode = if of_root { 0o600 } else { mode };
    let node = Node {
        of_root,
        ..Node::new(kind, mode)
    };
    case.tree.insert(b".dockerignore".to_vec(), node);
    if case.ignore == LinkInside {
        add(&mut case.tree, b"ignore".to_vec(), Kind::Dir, 0o755);
        let text = Kind::File(case.text());
        add(&mut case.tree, b"ignore/file".to_vec(), text, 0o644);
    }
}

// A line of an ignore file. It has no brackets and no backslashes, so that its meaning is certain.
fn line(tree: &BTreeMap<Vec<u8>, Node>, dice: &mut Dice) -> Vec<u8> {
    let path = some(tree, dice, |_| true).unwrap_or_else(|| b"a".to_vec());
    let path = masked(&path);
    let (dir, base, start) = taken_apart(&path);
    let text = match dice.below(9) {
        0 | 1 => path.clone(),
        2 => format!("**/{base}"),
        3 => format!("{path}/*"),
        4 => format!("*/{base}"),
        5 => format!("{}{start}*", slash(dir)),
        6 => format!("/{path}/"),
        7 => format!("{path}/**"),
        _ => "*".to_owned(),
    };
    let not = if dice.percent(30) { "!" } else { "" };
    format!("{not}{text}").into_bytes()
}

// `path`, with wildcards in place of characters that are special in ignore files, Dockerfiles or JSON, or are not text.
fn masked(path: &[u8]) -> String {
    replaced(path, "*[]\\$\"'!# ")
}

// `path`, with wildcards in place of the characters `odd`, control characters, and bytes that are not UTF-8.
fn replaced(path: &[u8], odd: &str) -> String {
    let is_odd = |c: char| odd.contains(c) || c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let text = String::from_utf8_lossy(path);
    text.chars()
        .map(|c| if is_odd(c) { '?' } else { c })
        .collect()
}

// The prefix of all paths in the directory `dir`.
fn slash(dir: &str) -> String {
    if dir.is_empty() {
        String::new()
    } else {
        format!("{dir}/")
    }
}

// The directory of `path`, its name, and the first character of the name.
fn taken_apart(path: &str) -> (&str, &str, String) {
    let (dir, base) = path.rsplit_once('/').unwrap_or(("", path));
    (dir, base, base.chars().take(1).collect())
}

fn source(tree: &BTreeMap<Vec<u8>, Node>, dice: &mut Dice) -> String {
    let path = some(tree, dice, |_| true).unwrap_or_else(|| b"a".to_vec());
    // In the array form of `COPY`, blanks and `!` are ordinary characters.
    let path = replaced(&path, "*[]\\$\"'?");
    let (dir, base, start) = taken_apart(&path);
    let link = |dice: &mut Dice| {
        let link = some(tree, dice, |kind| matches!(kind, Kind::Link(_)));
        masked(&link.unwrap_or_else(|| b"link".to_vec()))
    };
    match dice.below(20) {
        0..6 => path.clone(),
        6..8 => format!("{}*", slash(dir)),
        8..11 => format!("{}{start}*", slash(dir)),
        11..13 => format!("*/{start}*"),
        13 => format!("*/{base}"),
        14 => format!("{}*/*", slash(dir)),
        15 => format!("{}/{start}*", link(dice)),
        16 => format!("{}/{base}", link(dice)),
        17 => "nope*".to_owned(),
        _ => ".".to_owned(),
    }
}
