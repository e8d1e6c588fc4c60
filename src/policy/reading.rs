//! Reads what a module refers to: parts of `input`, and functions.
//!
//! buildx knows by partial evaluation which unknown fields of a source a decision depends on. `regorus` cannot evaluate partially, so
//! the places in the text are used instead: together with the lines that an evaluation has reached, they tell the same.

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead};

/// One place in a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) what: Mention,
}

/// What is mentioned at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mention {
    /// A path below `input`, such as `image.labels`, as far as it is known before the evaluation.
    Input {
        path: Vec<String>,
        /// Whether the value may be bound to a name, or handed over.
        escapes: bool,
    },
    /// Fields of another value, which may be a part of `input`.
    Fields(Vec<String>),
    /// A call of a function.
    Call(String),
}

/// What a module has.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) places: Vec<Place>,
    /// The names of the functions that it defines.
    pub(super) functions: Vec<String>,
    /// The names under which it imports other modules.
    pub(super) libraries: Vec<String>,
}

/// What `module` has.
pub(super) fn read(module: &Module) -> Contents {
    let mut reader = Reader {
        aliases: Vec::new(),
        contents: Contents::default(),
    };
    for import in &module.imports {
        let Some(path) = Chain::of(&import.refr).and_then(Chain::known) else {
            continue;
        };
        let alias = match &import.r#as {
            Some(alias) => alias.text().to_owned(),
            None => path.last().cloned().unwrap_or_default(),
        };
        match path.first().map(String::as_str) {
            Some("input") => reader.aliases.push((alias, path[1..].to_vec())),
            Some("data") => reader.contents.libraries.push(alias),
            _ => {}
        }
    }
    for rule in &module.policy {
        reader.rule(rule);
    }
    reader.contents
}

/// The paths of `module`'s imports, with the root, such as `data.lib.images`. `None` for one that has a part that is not a text.
pub(super) fn imports(module: &Module) -> Vec<Option<Vec<String>>> {
    let imports = module.imports.iter();
    let paths = imports.map(|import| Chain::of(&import.refr).and_then(Chain::known));
    paths.collect()
}

/// A reference: a name, and the fields behind it. `None` for a field that is not known before the evaluation.
struct Chain<'e> {
    root: &'e str,
    fields: Vec<Option<String>>,
}

impl<'e> Chain<'e> {
    /// `None` if `expr` does not begin with a name.
    fn of(expr: &'e Ref<Expr>) -> Option<Self> {
        let mut fields = Vec::new();
        let mut at = expr;
        loop {
            match at.as_ref() {
                Expr::RefDot { refr, field, .. } => {
                    fields.push(Some(field.0.text().to_owned()));
                    at = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    fields.push(text(index));
                    at = refr;
                }
                Expr::Var { span, .. } => {
                    fields.reverse();
                    let root = span.text();
                    return Some(Self { root, fields });
                }
                _ => return None,
            }
        }
    }

    /// The root and all fields, if all are known.
    fn known(self) -> Option<Vec<String>> {
        let mut path = vec![self.root.to_owned()];
        for field in self.fields {
            path.push(field?);
        }
        Some(path)
    }
}

/// The text that `expr` is.
fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => {
            value.as_string().ok().map(ToString::to_string)
        }
        _ => None,
    }
}

struct Reader {
    /// Names of imports, and the paths below `input` that they stand for.
    aliases: Vec<(String, Vec<String>)>,
    contents: Contents,
}

impl Reader {
    fn rule(&mut self, rule: &Rule) {
        match rule {
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Compr { refr, assign, .. } => {
                        self.indexes(refr);
                        if let Some(assign) = assign {
                            self.value(&assign.value);
                        }
                    }
                    RuleHead::Set { refr, key, .. } => {
                        self.indexes(refr);
                        if let Some(key) = key {
                            self.value(key);
                        }
                    }
                    RuleHead::Func {
                        refr, args, assign, ..
                    } => {
                        let path = Chain::of(refr).and_then(Chain::known);
                        self.contents
                            .functions
                            .extend(path.map(|path| path.join(".")));
                        for arg in args {
                            self.value(arg);
                        }
                        if let Some(assign) = assign {
                            self.value(&assign.value);
                        }
                    }
                }
                for body in bodies {
                    if let Some(assign) = &body.assign {
                        self.value(&assign.value);
                    }
                    self.query(&body.query);
                }
            }
            Rule::Default {
                refr, args, value, ..
            } => {
                if !args.is_empty() {
                    let path = Chain::of(refr).and_then(Chain::known);
                    self.contents
                        .functions
                        .extend(path.map(|path| path.join(".")));
                }
                self.value(value);
            }
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => {
                    if let Some(key) = key {
                        self.value(key);
                    }
                    self.value(value);
                    self.value(collection);
                }
                // The whole statement is only tested, so its value goes nowhere.
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                    self.expression(expr, false);
                }
                Literal::Every { domain, query, .. } => {
                    self.value(domain);
                    self.query(query);
                }
            }
            for with in &statement.with_mods {
                self.indexes(&with.refr);
                self.value(&with.r#as);
            }
        }
    }

    fn value(&mut self, expr: &Ref<Expr>) {
        self.expression(expr, true);
    }

    fn add(&mut self, expr: &Expr, what: Mention) {
        let span = expr.span();
        self.contents.places.push(Place {
            file: span.source.file().clone(),
            line: span.line,
            what,
        });
    }

    fn expression(&mut self, expr: &Ref<Expr>, escapes: bool) {
        match expr.as_ref() {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.reference(expr, escapes);
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                for item in items {
                    self.value(item);
                }
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.value(key);
                    self.value(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.value(term);
                self.query(query);
            }
            Expr::ObjectCompr {
                key, value, query, ..
            } => {
                self.value(key);
                self.value(value);
                self.query(query);
            }
            Expr::Call { fcn, params, .. } => {
                if let Some(path) = Chain::of(fcn).and_then(Chain::known) {
                    self.add(expr, Mention::Call(path.join(".")));
                }
                for param in params {
                    self.value(param);
                }
            }
            Expr::UnaryExpr { expr, .. } => self.value(expr),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.value(lhs);
                self.value(rhs);
            }
            Expr::Membership {
                key,
                value,
                collection,
                ..
            } => {
                if let Some(key) = key {
                    self.value(key);
                }
                self.value(value);
                self.value(collection);
            }
        }
    }

    fn reference(&mut self, expr: &Ref<Expr>, escapes: bool) {
        self.indexes(expr);
        let Some(chain) = Chain::of(expr) else {
            let fields = fields_behind(expr);
            if !fields.is_empty() {
                self.add(expr, Mention::Fields(fields));
            }
            return;
        };
        let alias = self.aliases.iter().find(|(name, _)| name == chain.root);
        let base = match alias {
            Some((_, path)) => Some(path.clone()),
            None => (chain.root == "input").then(Vec::new),
        };
        let what = match base {
            Some(mut path) => {
                path.extend(chain.fields.iter().map_while(Clone::clone));
                let rest = chain.fields.iter().skip_while(|field| field.is_some());
                let rest: Vec<String> = rest.flatten().cloned().collect();
                if !rest.is_empty() {
                    self.add(expr, Mention::Fields(rest));
                }
                Mention::Input { path, escapes }
            }
            None if chain.fields.is_empty() => return,
            None => Mention::Fields(chain.fields.into_iter().flatten().collect()),
        };
        self.add(expr, what);
    }

    /// Reads what stands in brackets within a reference, and the call or other expression that it begins with.
    fn indexes(&mut self, expr: &Ref<Expr>) {
        let mut at = expr;
        loop {
            match at.as_ref() {
                Expr::RefDot { refr, .. } => at = refr,
                Expr::RefBrack { refr, index, .. } => {
                    self.value(index);
                    at = refr;
                }
                Expr::Var { .. } => return,
                _ => return self.value(at),
            }
        }
    }
}

/// The known fields of a reference that does not begin with a name.
fn fields_behind(expr: &Ref<Expr>) -> Vec<String> {
    let mut fields = Vec::new();
    let mut at = expr;
    loop {
        match at.as_ref() {
            Expr::RefDot { refr, field, .. } => {
                fields.push(field.0.text().to_owned());
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                fields.extend(text(index));
                at = refr;
            }
            _ => {
                fields.reverse();
                return fields;
            }
        }
    }
}
