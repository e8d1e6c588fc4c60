//! Builds a tree of nodes from parser events. Each document has its own arena of nodes. Aliases are not resolved yet.
//!
//! This is the only file that uses the parser crate.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag, options};

use super::{error, report};
use crate::diag::{Diagnostic, Diagnostics, SourceId, Span};

/// The deepest nesting of collections. No real Compose file comes near it.
const MAX_NESTING: usize = 200;
/// The longest key without `?`, in characters. YAML says 1024, but go-yaml has no limit.
const MAX_KEY: usize = 16 * 1024;
/// The most nodes in one stream.
const MAX_NODES: usize = 500_000;

/// The index of a node in its [`YamlTree`].
pub(super) type Id = usize;

/// A document before aliases, merges and scalars are resolved.
pub(super) struct YamlTree<'a> {
    pub(super) nodes: Vec<Raw<'a>>,
    pub(super) root: Id,
}

/// A node before aliases, merges and scalars are resolved.
pub(super) struct Raw<'a> {
    pub(super) span: Span,
    /// The tag in its short form, such as `!!str` or `!reset`.
    pub(super) tag: Option<Box<str>>,
    pub(super) kind: TreeNodeKind<'a>,
    /// For collections: whether entries marked `!reset` are left out. See [`super::marks`].
    pub(super) resets: bool,
}

pub(super) enum TreeNodeKind<'a> {
    Scalar(Scalar<'a>),
    Sequence(Vec<Id>),
    /// Pairs of key and value.
    Mapping(Vec<(Id, Id)>),
    /// The node with the anchor, and the anchor's name.
    Alias(Id, &'a str),
}

pub(super) struct Scalar<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) plain: bool,
    pub(super) verbatim: Option<u32>,
}

impl<'a> YamlTree<'a> {
    /// The node `id`, or if it is an alias, the node that it refers to.
    pub(super) fn target(&self, id: Id) -> Id {
        match self.nodes[id].kind {
            TreeNodeKind::Alias(target, _) => target,
            _ => id,
        }
    }

    /// Like [`Self::target`], but returns the node itself.
    pub(super) fn resolved(&self, id: Id) -> &Raw<'a> {
        &self.nodes[self.target(id)]
    }

    /// Whether `id`, or the node that it refers to, has the tag `tag`.
    pub(super) fn has_tag(&self, id: Id, tag: &str) -> bool {
        self.resolved(id).tag.as_deref() == Some(tag)
    }

    /// The text by which go-yaml compares keys: the text of a scalar, the name of an alias, and empty for collections.
    pub(super) fn key_text(&self, id: Id) -> &str {
        match &self.nodes[id].kind {
            TreeNodeKind::Scalar(scalar) => &scalar.text,
            TreeNodeKind::Alias(_, name) => name,
            TreeNodeKind::Sequence(_) | TreeNodeKind::Mapping(_) => "",
        }
    }
}

/// Parses the documents of `text`, up to the first syntax error.
pub(super) fn trees<'a>(
    text: &'a str,
    source: SourceId,
    problems: &mut Diagnostics,
) -> Vec<YamlTree<'a>> {
    let mut options = options! {
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
        simple_key_max_lookahead: MAX_KEY,
        bom_inside_document_as_content: true,
        emit_unresolved_aliases: true,
        block_scalar_eof_without_line_feed: true,
    };
    options.set_emit_comments(false);
    let mut composer = Composer {
        text,
        source,
        problems,
        trees: Vec::new(),
        nodes: Vec::new(),
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        count: 0,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                let at = composer.span(&span);
                let tag_at = span
                    .tag_span()
                    .and_then(|span| span.byte_range())
                    .map(|range| Span::new(source, range));
                composer.event(event, at, tag_at);
            }
            Err(problem) => {
                report(composer.problems, syntax(text, source, &problem));
                break;
            }
        }
        if composer.count > MAX_NODES {
            let at = Span::new(source, 0..0);
            let message = format!("more than {MAX_NODES} values");
            let problem = error("yaml::too-large", message, at, "in this file");
            report(composer.problems, problem);
            break;
        }
    }
    composer.trees
}

struct Composer<'a, 'p> {
    text: &'a str,
    source: SourceId,
    problems: &'p mut Diagnostics,
    trees: Vec<YamlTree<'a>>,
    nodes: Vec<Raw<'a>>,
    /// The collections that have begun but not ended. For a mapping, the key whose value comes next, if any.
    open: Vec<(Id, Option<Id>)>,
    root: Option<Id>,
    anchors: HashMap<usize, Id>,
    count: usize,
}

impl<'a> Composer<'a, '_> {
    /// Handles one event. `tag_at` is the place of the node's tag, if it has one.
    fn event(&mut self, event: Event<'a>, span: Span, tag_at: Option<Span>) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let verbatim = self.verbatim(&text, style, span);
                let scalar = Scalar {
                    text,
                    plain,
                    verbatim,
                };
                self.add(
                    TreeNodeKind::Scalar(scalar),
                    span,
                    anchor,
                    tag.as_deref(),
                    tag_at,
                );
            }
            Event::SequenceStart(_, anchor, tag) => {
                let kind = TreeNodeKind::Sequence(Vec::new());
                let id = self.add(kind, span, anchor, tag.as_deref(), tag_at);
                self.open.push((id, None));
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = TreeNodeKind::Mapping(Vec::new());
                let id = self.add(kind, span, anchor, tag.as_deref(), tag_at);
                self.open.push((id, None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((id, _)) = self.open.pop() {
                    let end = self.trimmed_end(span.end);
                    let node = &mut self.nodes[id];
                    node.span.end = end.max(node.span.end);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(target) => {
                    let kind = TreeNodeKind::Alias(*target, self.name(span));
                    self.add(kind, span, 0, None, None);
                }
                None => self.unknown_anchor(span),
            },
            Event::UnresolvedAlias(_) => self.unknown_anchor(span),
            Event::DocumentEnd => {
                if let Some(root) = self.root.take() {
                    let nodes = std::mem::take(&mut self.nodes);
                    self.trees.push(YamlTree { nodes, root });
                }
                self.anchors.clear();
                self.open.clear();
            }
            _ => {}
        }
    }

    /// Adds a node to the arena, and to the collection that is open. An `anchor` of 0 means none.
    fn add(
        &mut self,
        kind: TreeNodeKind<'a>,
        span: Span,
        anchor: usize,
        tag: Option<&Tag>,
        tag_at: Option<Span>,
    ) -> Id {
        let id = self.nodes.len();
        self.count += 1;
        // A tag without a value, as in `key: !reset`, has an empty span. Diagnostics then point at the tag.
        let span = match tag_at {
            Some(tag_at) if span.start == span.end => tag_at,
            _ => span,
        };
        self.nodes.push(Raw {
            span,
            tag: tag.and_then(short),
            kind,
            resets: false,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        let Some((parent, key)) = self.open.last_mut() else {
            self.root = self.root.or(Some(id));
            return id;
        };
        match (&mut self.nodes[*parent].kind, key.take()) {
            (TreeNodeKind::Sequence(items), _) => items.push(id),
            (TreeNodeKind::Mapping(entries), Some(key)) => entries.push((key, id)),
            (_, None) => *key = Some(id),
            (TreeNodeKind::Scalar(_) | TreeNodeKind::Alias(..), Some(_)) => {}
        }
        id
    }

    /// Reports an alias without an anchor, and adds a null in its place so that parsing can continue.
    fn unknown_anchor(&mut self, span: Span) {
        let name = self.name(span);
        let message = format!("there is no anchor `&{name}` before this alias");
        let problem = error("yaml::unknown-anchor", message, span, "not defined").help(format!(
            "write `&{name}` before the value you mean, earlier in the same document"
        ));
        report(self.problems, problem);
        let scalar = Scalar {
            text: Cow::Borrowed(""),
            plain: true,
            verbatim: None,
        };
        self.add(TreeNodeKind::Scalar(scalar), span, 0, None, None);
    }

    fn name(&self, alias: Span) -> &'a str {
        let text = self.text.get(alias.range()).unwrap_or_default();
        text.trim_start_matches('*').trim_end()
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or_default();
        let end = range.end.min(self.text.len());
        Span::new(self.source, range.start.min(end)..end)
    }

    /// Moves `end` back over white space: the parser reports the end of a block collection where the next token
    /// starts.
    fn trimmed_end(&self, end: u32) -> u32 {
        let text = self.text.get(..end as usize).unwrap_or_default();
        u32::try_from(text.trim_end().len()).unwrap_or(end)
    }

    /// The offset of a scalar's text in the file, if the file contains it unchanged. See [`super::node::YamlNode`].
    fn verbatim(&self, text: &str, style: ScalarStyle, span: Span) -> Option<u32> {
        let skip = match style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            ScalarStyle::Literal | ScalarStyle::Folded => return None,
        };
        let start = span.start as usize + skip;
        let written = self.text.get(start..start + text.len())?;
        (written == text).then_some(span.start + u32::from(skip == 1))
    }
}

/// The tag in its short form. `None` for `!`, which has no effect.
fn short(tag: &Tag) -> Option<Box<str>> {
    let long = format!("{}{}", tag.handle(), tag.suffix());
    match long.strip_prefix("tag:yaml.org,2002:") {
        _ if long == "!" || long.is_empty() => None,
        Some(name) => Some(format!("!!{name}").into()),
        None => Some(long.into()),
    }
}

/// The error for a text that is not YAML.
fn syntax(text: &str, source: SourceId, problem: &ScanError) -> Diagnostic {
    let start = problem.marker().byte_offset().unwrap_or(text.len());
    let start = start.min(text.len());
    let next = text.get(start..).and_then(|rest| rest.chars().next());
    let end = start + next.filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span::new(source, start..end);
    let message = format!("this is not valid YAML: {}", problem.info());
    error("yaml::syntax", message, span, "here")
}
