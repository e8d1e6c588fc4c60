//! A definition before it is text: blocks, attributes, and values that distinguish plain data from expressions.

/// A definition file.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) attributes: Vec<Attribute>,
    pub(super) blocks: Vec<Block>,
}

/// A block with at most one label.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: &'static str,
    pub(super) label: Option<String>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) blocks: Vec<Block>,
}

/// A name and a value.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Value,
}

/// A value as both syntaxes can write it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// An expression of the native syntax.
    Expression(String),
    /// The inside of a quoted template of the native syntax.
    Template(String),
    /// Plain text.
    Text(String),
    Number(String),
    Bool(bool),
    Null,
    List(Vec<Value>),
    Object(Vec<(Key, Value)>),
    /// What the JSON syntax takes as a name or type expression: `string`, `[a, b]`.
    Bare(String),
}

/// A key of an object.
#[derive(Debug, Clone)]
pub(super) enum Key {
    /// Plain text.
    Text(String),
    /// An expression.
    Expression(String),
}

impl Block {
    pub(super) fn new(kind: &'static str, label: impl Into<String>) -> Self {
        Self {
            kind,
            label: Some(label.into()),
            attributes: Vec::new(),
            blocks: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.attributes.push(Attribute {
            name: name.to_owned(),
            value,
        });
    }
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// The value as an expression of the native syntax.
    pub(super) fn expression(&self) -> String {
        match self {
            Self::Expression(text) | Self::Number(text) | Self::Bare(text) => text.clone(),
            Self::Template(inside) => format!("\"{inside}\""),
            Self::Text(text) => quote(text),
            Self::Bool(value) => value.to_string(),
            Self::Null => "null".to_owned(),
            Self::List(elements) => {
                let elements: Vec<String> = elements.iter().map(Self::expression).collect();
                format!("[{}]", elements.join(", "))
            }
            Self::Object(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{} = {}", key.expression(), value.expression()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

impl Key {
    pub(super) fn expression(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Expression(text) => format!("({text})"),
        }
    }
}

/// `text` as a quoted template with that value.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// `text` as the inside of a quoted template with that value.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c => out.push(c),
        }
    }
    escape_introducers(&out)
}

/// `text` with `${` and `%{` escaped.
pub(super) fn escape_introducers(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}
