//! Variables, functions, groups, targets and matrices.

use super::document::{Attribute, Block, Key, Value};
use super::expression::{Callable, Kind, Maker};
use super::words;

/// A variable that was made, as the command line needs to know it.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) ty: Option<&'static str>,
    pub(super) kind: Kind,
}

impl Maker {
    /// A variable block; its name may be used afterwards.
    pub(super) fn variable(&mut self) -> (Block, Variable) {
        let name = (*self.random.pick(words::VARIABLES)).to_owned();
        let mut block = Block::new("variable", name.clone());
        let mut kind = self.kind();
        let ty = self.random.percent(45).then(|| {
            let choices: &[(&'static str, Kind)] = match kind {
                Kind::Number => &[("number", Kind::Number)],
                Kind::Bool => &[("bool", Kind::Bool)],
                Kind::Texts => &[
                    ("list(string)", Kind::Texts),
                    ("set(string)", Kind::Texts),
                    ("tuple([string, number])", Kind::Any),
                    ("list(number)", Kind::Numbers),
                    ("list(list(string))", Kind::Any),
                    ("tuple([])", Kind::Texts),
                    ("list(bool)", Kind::Any),
                ],
                Kind::Map => &[
                    ("map(string)", Kind::Map),
                    ("object({a = string})", Kind::Any),
                    ("object({a = string, b = optional(number)})", Kind::Any),
                    ("map(number)", Kind::Map),
                    ("object({a = optional(string, \"d\")})", Kind::Any),
                    ("map(list(string))", Kind::Any),
                ],
                _ => &[("string", Kind::Text), ("any", Kind::Text)],
            };
            let (ty, found) = *self.random.pick(choices);
            kind = found;
            ty
        });
        if let Some(ty) = ty {
            let written = if self.wild() {
                *self.random.pick(words::BAD_TYPES)
            } else {
                ty
            };
            block.set("type", Value::Bare(written.to_owned()));
        }
        if self.random.percent(80) {
            let value = match (ty, self.random.below(12)) {
                (_, 0) => {
                    kind = Kind::Any;
                    Value::Null
                }
                (Some(ty), _) => self.value_of_type(ty),
                (None, 1..4) => Value::Expression(self.of(kind, 2)),
                (None, _) => self.plain(kind),
            };
            block.set("default", value);
        } else if ty.is_none() {
            kind = Kind::Text;
        }
        if self.random.percent(15) {
            block.set(
                "description",
                Value::text(*self.random.pick(&["what it is", "", "é <b>", "two\nlines"])),
            );
        }
        if self.random.percent(4) {
            block.set(self.pick_of(&["sensitive", "nullable"]), Value::Bool(true));
        }
        // Only the last block of a name counts.
        self.variables.retain(|(found, _)| *found != name);
        self.variables.push((name.clone(), kind));
        for _ in 0..self.random.weighted(&[20, 2, 1]) {
            block.blocks.push(self.validation(&name));
        }
        (block, Variable { name, ty, kind })
    }

    pub(super) fn pick_of(&mut self, choices: &[&'static str]) -> &'static str {
        let choice: &'static str = choices[self.random.below(choices.len())];
        choice
    }

    fn validation(&mut self, name: &str) -> Block {
        let condition = match self.random.below(6) {
            0 => {
                let value = self.bool(2);
                format!("({value} || true)")
            }
            1 => format!("{name} != \"bad\""),
            2 => format!("can(jsonencode({name}))"),
            3 if self.wild() => "null".to_owned(),
            _ => "true".to_owned(),
        };
        let mut block = Block {
            kind: "validation",
            label: None,
            attributes: vec![Attribute {
                name: "condition".to_owned(),
                value: Value::Expression(condition),
            }],
            blocks: Vec::new(),
        };
        if self.random.percent(90) {
            block.set("error_message", Value::text("must be right"));
        }
        block
    }

    fn plain(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Number | Kind::Numbers => {
                Value::Number((*self.random.pick(words::NUMBERS)).to_owned())
            }
            Kind::Bool => Value::Bool(self.random.percent(50)),
            Kind::Texts => Value::texts([*self.random.pick(words::TEXTS), "z"]),
            Kind::Map => Value::Object(vec![(
                Key::Text("a".to_owned()),
                Value::text(*self.random.pick(words::TEXTS)),
            )]),
            _ => Value::text(*self.random.pick(words::TEXTS)),
        }
    }

    fn value_of_type(&mut self, ty: &str) -> Value {
        if self.wild() {
            return Value::Expression(self.any(2));
        }
        let text = |maker: &mut Self| maker.text(1);
        Value::Expression(match ty {
            "string" => self.text(2),
            "number" => self.number(2),
            "bool" => self.bool(2),
            "any" => self.any(2),
            "list(string)" | "set(string)" => self.texts(2),
            "list(number)" => self.numbers(2),
            "list(bool)" => "[true, \"false\"]".to_owned(),
            "tuple([])" => "[]".to_owned(),
            "tuple([string, number])" => format!("[{}, {}]", text(self), self.number(1)),
            "list(list(string))" => format!("[[{}], []]", text(self)),
            "map(number)" => format!("{{a = {}}}", self.number(1)),
            "map(list(string))" => format!("{{a = [{}], b = []}}", text(self)),
            "map(string)" => self.map(2),
            _ => format!("{{a = {}}}", text(self)),
        })
    }

    /// A function block; it may be called afterwards.
    pub(super) fn function(&mut self) -> Block {
        let name = (*self.random.pick(words::FUNCTIONS)).to_owned();
        let kind = *self
            .random
            .pick(&[Kind::Text, Kind::Text, Kind::Texts, Kind::Map]);
        let count = self.random.below(3);
        let parameters: Vec<&str> = ["p", "q", "V"][..count].to_vec();
        let variadic = self.random.percent(25);
        let mut block = Block::new("function", name.clone()).with(
            "params",
            Value::Bare(format!("[{}]", parameters.join(", "))),
        );
        let mut names: Vec<(&str, Kind)> =
            parameters.iter().map(|name| (*name, Kind::Text)).collect();
        if variadic {
            block.set("variadic_params", Value::Bare("rest".to_owned()));
            names.push(("rest", Kind::Texts));
        }
        let references = std::mem::replace(&mut self.references, false);
        let result = self.within(&names, kind, 3);
        self.references = references;
        block.set("result", Value::Expression(result));
        self.functions.push(Callable {
            name,
            parameters: count,
            variadic,
            kind,
        });
        block
    }

    /// A group block.
    pub(super) fn group(&mut self) -> Block {
        let name = self.group_name();
        let mut block = Block::new("group", name.clone());
        let mut members: Vec<String> = Vec::new();
        for _ in 0..self.random.below(4) {
            let pool = if self.random.percent(20) && !self.groups.is_empty() {
                &self.groups
            } else {
                &self.targets
            };
            if !pool.is_empty() {
                members.push(self.random.pick(pool).clone());
            }
        }
        if self.wild() {
            members.push((*self.random.pick(&["missing", "a*", "", "a.b"])).to_owned());
        }
        if self.random.percent(5) {
            block.set("description", Value::text("a group"));
        }
        if !self.wild() {
            let value = match self.random.below(20) {
                0 => Value::Null,
                1 => Value::Expression(self.texts(1)),
                _ => Value::texts(members),
            };
            block.set("targets", value);
        }
        self.groups.push(name);
        block
    }

    fn group_name(&mut self) -> String {
        let pool = if self.random.percent(1) {
            words::ODD_NAMES
        } else {
            words::GROUPS
        };
        (*self.random.pick(pool)).to_owned()
    }

    /// A target block.
    pub(super) fn target(&mut self, name: &str, attributes: usize) -> Block {
        let mut block = Block::new("target", name);
        if self.random.percent(10) {
            self.matrix(&mut block, name);
        }
        let count = self.random.between(attributes / 2, attributes);
        self.fill(&mut block, count);
        self.locals.clear();
        if self.random.percent(2) {
            block.blocks.push(Block {
                kind: "args",
                label: None,
                attributes: Vec::new(),
                blocks: Vec::new(),
            });
        }
        block
    }

    // The keys of the matrix can be used in the whole block.
    fn matrix(&mut self, block: &mut Block, label: &str) {
        let keys = self.random.between(1, 2);
        let mut entries = Vec::new();
        let mut parts = Vec::new();
        for key in ["k", "v"].into_iter().take(keys) {
            let value = match self.random.below(10) {
                0 => Value::Expression(self.texts(1)),
                1 => Value::List(Vec::new()),
                2 => Value::Expression("{x = \"1\", y = \"2\"}".to_owned()),
                3 => Value::Expression("[{n = \"a\"}, {n = \"b\"}]".to_owned()),
                4 => Value::List(vec![
                    Value::Number("1".to_owned()),
                    Value::Number("2.5".to_owned()),
                ]),
                5 if self.wildness > 0 => Value::List(vec![Value::Null, Value::text("a")]),
                _ => Value::texts(["a", "b"]),
            };
            let objects = matches!(&value, Value::Expression(text) if text.contains("n ="));
            parts.push(if objects {
                format!("${{{key}.n}}")
            } else {
                format!("${{{key}}}")
            });
            self.locals
                .push((key.to_owned(), if objects { Kind::Any } else { Kind::Text }));
            entries.push((Key::Text(key.to_owned()), value));
        }
        block.set("matrix", Value::Object(entries));
        let inside = format!("{label}-{}", parts.join("-"));
        if !self.wild() {
            let name = if self.random.percent(70) {
                Value::Expression(format!("sanitize(\"{inside}\")"))
            } else {
                Value::Template(inside)
            };
            block.set("name", name);
        }
    }
}
