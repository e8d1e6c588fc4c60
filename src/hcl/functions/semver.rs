//! `semvercmp`: compares versions with constraints.
//!
//! The grammar and the meaning of constraints are those of Masterminds' Go library, which differ from Cargo's.
//! Parts of a version may be missing or `x`; with such a version, `=` and no operator mean `~`. A pre-release
//! satisfies a constraint only if another constraint of its group names a pre-release.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::hcl::cty::Value;

/// The longest version or constraint, in bytes.
const LENGTH_LIMIT: usize = 4096;

pub(super) const FUNCTIONS: &[Function] = &[Function::new(
    "semvercmp",
    "Whether a version satisfies a constraint such as `>=1.2, <2 || ~3`.",
    &[Parameter::string("version"), Parameter::string("contraint")],
    compare,
)];

fn compare(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (version, constraint) = (call.text(0)?, call.text(1)?);
    for (place, text) in [version, constraint].into_iter().enumerate() {
        if text.len() > LENGTH_LIMIT {
            return Err(FunctionError::argument(place, "the text is too long"));
        }
    }
    let version = Version::parse(version).map_err(FunctionError::new)?;
    let constraint = Constraints::parse(constraint).map_err(FunctionError::new)?;
    Ok(constraint.accepts(&version).into())
}

/// A version. Missing parts are zero.
#[derive(Debug, Clone)]
struct Version {
    numbers: [u64; 3],
    pre: String,
}

/// A version. Groups 1 to 3 are the numbers, group 4 is the pre-release with its dash. [`WILD_VERSION`] is the form
/// in constraints, in which parts may be `x`.
const VERSION: &str = r"v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?(-[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?(?:\+[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?";
const WILD_VERSION: &str = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?(-[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?(?:\+[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?";
/// The operators, which include none at all, in the order in which they are tried.
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
/// White space as in Go's regular expressions.
const SPACE: &str = r"[\t\n\f\r ]";

/// The regular expressions that parse constraints.
struct Grammar {
    version: Regex,
    /// A text that is one operator and version.
    single: Regex,
    /// One operator and version, anywhere in a text.
    some: Regex,
    /// Any number of them, separated by spaces or commas.
    all: Regex,
    /// A range such as `1.2 - 3.4`, anywhere in a text.
    range: Regex,
}

static GRAMMAR: LazyLock<Option<Grammar>> = LazyLock::new(|| {
    let one = format!("(?:{OPERATORS}){SPACE}*(?:{WILD_VERSION})");
    Some(Grammar {
        version: Regex::new(&format!("^{VERSION}$")).ok()?,
        single: Regex::new(&format!(
            "^{SPACE}*({OPERATORS}){SPACE}*{WILD_VERSION}{SPACE}*$"
        ))
        .ok()?,
        some: Regex::new(&one).ok()?,
        all: Regex::new(&format!(
            "^(?:{SPACE}*{one}{SPACE}*)(?:(?:{SPACE}+|,{SPACE}*){one}{SPACE}*)*$"
        ))
        .ok()?,
        range: Regex::new(&format!(
            "{SPACE}*({WILD_VERSION}){SPACE}+-{SPACE}+({WILD_VERSION}){SPACE}*"
        ))
        .ok()?,
    })
});

fn grammar() -> Result<&'static Grammar, String> {
    GRAMMAR
        .as_ref()
        .ok_or_else(|| "the version grammar does not compile".to_owned())
}

/// The text of a group without the character `lead` at its start; empty if the group did not match.
fn part<'a>(captures: &Captures<'a>, group: usize, lead: char) -> &'a str {
    let text = captures.get(group).map_or("", |group| group.as_str());
    text.strip_prefix(lead).unwrap_or(text)
}

impl Version {
    fn parse(text: &str) -> Result<Self, String> {
        let captures = grammar()?
            .version
            .captures(text)
            .ok_or("invalid semantic version")?;
        let number = |group| match part(&captures, group, '.') {
            "" => Ok(0),
            digits => digits
                .parse()
                .map_err(|error| format!("error parsing version segment: {error}")),
        };
        let version = Self {
            numbers: [number(1)?, number(2)?, number(3)?],
            pre: part(&captures, 4, '-').to_owned(),
        };
        let padded = |identifier: &str| {
            identifier.len() > 1
                && identifier.starts_with('0')
                && identifier.bytes().all(|digit| digit.is_ascii_digit())
        };
        if version.pre.split('.').any(padded) {
            return Err("version segment starts with 0".into());
        }
        Ok(version)
    }

    fn is_pre(&self) -> bool {
        !self.pre.is_empty()
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (self.is_pre(), other.is_pre()) {
                (false, false) => Ordering::Equal,
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (true, true) => compare_pre(&self.pre, &other.pre),
            })
    }
}

/// Compares pre-releases by their identifiers: numbers by value, numbers before words, and if one list begins with
/// the other, the shorter one first.
fn compare_pre(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let (left, right) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => (left, right),
        };
        let by_identifier = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if by_identifier.is_ne() {
            return by_identifier;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Tilde,
    Caret,
}

/// One operator and version of a constraint.
#[derive(Debug)]
struct Constraint {
    operator: Operator,
    version: Version,
    /// Some part of the version is missing or `x`.
    open: bool,
    open_minor: bool,
    open_patch: bool,
}

/// The groups of a constraint, separated by `||`, one of which must hold. All constraints of a group must hold.
#[derive(Debug)]
struct Constraints(Vec<Vec<Constraint>>);

impl Constraints {
    fn parse(text: &str) -> Result<Self, String> {
        let grammar = grammar()?;
        let mut text = text.to_owned();
        let ranges: Vec<(String, String)> = grammar
            .range
            .captures_iter(&text)
            .map(|captures| {
                let group = |group| part(&captures, group, '\0').to_owned();
                (group(0), format!(">= {}, <= {} ", group(1), group(6)))
            })
            .collect();
        for (range, rewritten) in ranges {
            text = text.replacen(&range, &rewritten, 1);
        }
        let groups = text.split("||").map(|group| {
            if !grammar.all.is_match(group) {
                return Err(format!("improper constraint: {group}"));
            }
            grammar
                .some
                .find_iter(group)
                .map(|found| Constraint::parse(grammar, found.as_str()))
                .collect()
        });
        groups.collect::<Result<_, _>>().map(Self)
    }

    fn accepts(&self, version: &Version) -> bool {
        self.0.iter().any(|group| {
            let names_pre = group.iter().any(|constraint| constraint.version.is_pre());
            (names_pre || !version.is_pre())
                && group.iter().all(|constraint| constraint.accepts(version))
        })
    }
}

impl Constraint {
    fn parse(grammar: &Grammar, text: &str) -> Result<Self, String> {
        let captures = grammar
            .single
            .captures(text)
            .ok_or_else(|| format!("improper constraint: {text}"))?;
        let operator = match part(&captures, 1, '\0') {
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            ">=" | "=>" => Operator::GreaterOrEqual,
            "<" => Operator::Less,
            "<=" | "=<" => Operator::LessOrEqual,
            "~" | "~>" => Operator::Tilde,
            "^" => Operator::Caret,
            _ => Operator::Equal,
        };
        let (major, minor, patch) = (
            part(&captures, 2, '.'),
            part(&captures, 3, '.'),
            part(&captures, 4, '.'),
        );
        let pre = captures.get(5).map_or("", |pre| pre.as_str());
        let is_open = |part: &str| matches!(part, "" | "x" | "X" | "*");
        let open_major = is_open(major);
        let open_minor = !open_major && is_open(minor);
        let open_patch = !open_major && !open_minor && is_open(patch);
        let version = if open_major {
            format!("0.0.0{pre}")
        } else if open_minor {
            format!("{major}.0.0{pre}")
        } else if open_patch {
            format!("{major}.{minor}.0{pre}")
        } else {
            format!("{major}.{minor}.{patch}{pre}")
        };
        Ok(Self {
            operator,
            version: Version::parse(&version).map_err(|_| "constraint parser error")?,
            open: open_major || open_minor || open_patch,
            open_minor,
            open_patch,
        })
    }

    /// Whether the version satisfies this constraint. [`Constraints::accepts`] decides first whether a pre-release
    /// may satisfy the group at all.
    fn accepts(&self, version: &Version) -> bool {
        let order = version.compare(&self.version);
        match self.operator {
            Operator::Equal if self.open => self.accepts_tilde(version),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => self.accepts_not_equal(version),
            Operator::Greater => self.accepts_greater(version),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => self.accepts_less_or_equal(version),
            Operator::Tilde => self.accepts_tilde(version),
            Operator::Caret => self.accepts_caret(version),
        }
    }

    fn accepts_not_equal(&self, version: &Version) -> bool {
        let [major, minor, _] = self.version.numbers;
        if self.open {
            if major != version.numbers[0] {
                return true;
            }
            if self.open_minor {
                return false;
            }
            if minor != version.numbers[1] {
                return true;
            }
            if self.open_patch {
                return (version.is_pre() || self.version.is_pre())
                    && compare_pre(&version.pre, &self.version.pre).is_ne();
            }
            // Only a single `x` is left. As in the Go library, all three parts are compared.
        }
        version.compare(&self.version).is_ne()
    }

    fn accepts_greater(&self, version: &Version) -> bool {
        let [major, minor, _] = self.version.numbers;
        if self.open && major != version.numbers[0] {
            return version.numbers[0] > major;
        }
        if self.open_minor {
            return false;
        }
        if self.open_patch {
            return version.numbers[1] > minor;
        }
        version.compare(&self.version).is_gt()
    }

    fn accepts_less_or_equal(&self, version: &Version) -> bool {
        if !self.open {
            return version.compare(&self.version).is_le();
        }
        let [major, minor, _] = self.version.numbers;
        let [version_major, version_minor, _] = version.numbers;
        version_major < major
            || version_major == major && (version_minor <= minor || self.open_minor)
    }

    fn accepts_tilde(&self, version: &Version) -> bool {
        if version.compare(&self.version).is_lt() {
            return false;
        }
        let [major, minor, _] = self.version.numbers;
        if self.version.numbers == [0, 0, 0] && !self.open_minor && !self.open_patch {
            return true;
        }
        version.numbers[0] == major && (version.numbers[1] == minor || self.open_minor)
    }

    fn accepts_caret(&self, version: &Version) -> bool {
        if version.compare(&self.version).is_lt() {
            return false;
        }
        let [major, minor, patch] = self.version.numbers;
        let [version_major, version_minor, version_patch] = version.numbers;
        if version_major != major {
            return false;
        }
        if major > 0 || self.open_minor {
            return true;
        }
        if version_minor != minor {
            return false;
        }
        minor > 0 || self.open_patch || version_patch == patch
    }
}
