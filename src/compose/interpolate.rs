//! Replaces variables in the strings of a Compose file, and converts some of the results to numbers or booleans.

use super::template::{Lookup, TemplateError, TemplateErrorKind, substitute};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::strconv;
use crate::yaml::{YamlNode, YamlValue};

/// Replaces the variables in all strings of `root` except keys. Where Compose expects a number or a boolean, the
/// string is converted to one.
pub(crate) fn interpolate(root: &mut YamlNode, lookup: Lookup<'_>, problems: &mut Diagnostics) {
    let mut pass = Interpolation {
        lookup,
        problems,
        path: Vec::new(),
    };
    // If the document is only a string, it is not a Compose file, and the caller reports that a mapping is expected.
    if root.as_mapping().is_some() {
        pass.node(root);
    }
}

struct Interpolation<'a> {
    lookup: Lookup<'a>,
    problems: &'a mut Diagnostics,
    path: Vec<String>,
}

impl Interpolation<'_> {
    fn node(&mut self, node: &mut YamlNode) {
        match &mut node.value {
            YamlValue::Mapping(entries) => {
                for (key, entry) in entries {
                    self.path.push(key.clone());
                    self.node(&mut entry.value);
                    self.path.pop();
                }
            }
            YamlValue::Sequence(items) => {
                self.path.push("[]".to_owned());
                for item in items {
                    self.node(item);
                }
                self.path.pop();
            }
            YamlValue::String(text) => {
                let cast = Cast::of(&self.path);
                if cast.is_some() || text.contains('$') {
                    self.string(node, cast);
                }
            }
            _ => {}
        }
    }

    /// Replaces the variables in a string, and converts the result if `cast` is set. On an error, the string is
    /// left unchanged.
    fn string(&mut self, node: &mut YamlNode, cast: Option<Cast>) {
        let YamlValue::String(template) = &node.value else {
            return;
        };
        match substitute(template, self.lookup) {
            Err(errors) => {
                for error in errors {
                    let part = node.part(error.range.clone());
                    let whole = part == node.span;
                    let text = template.get(error.range.clone()).filter(|_| whole);
                    self.problems.push(template_problem(error, part, text));
                }
            }
            Ok(found) => {
                for (name, range) in found.unset {
                    self.problems.push(unset(&name, node.part(range)));
                }
                match cast.map(|cast| cast.apply(&found.text)) {
                    None if found.text == *template => {}
                    None => *node = node.with(YamlValue::String(found.text)),
                    Some(Some(value)) => *node = node.with(value),
                    Some(None) => {
                        let wanted = cast.map_or("", Cast::name);
                        let problem = wrong_type(&self.path, &found.text, wanted, node);
                        self.problems.push(problem);
                    }
                }
            }
        }
    }
}

/// The diagnostic for a faulty template at `span`. `text` is the faulty part, if `span` contains more than that.
pub(super) fn template_problem(error: TemplateError, span: Span, text: Option<&str>) -> Diagnostic {
    let in_text = text.map_or(String::new(), |text| format!(": `{text}`"));
    match error.kind {
        TemplateErrorKind::Invalid => {
            let message = format!("this variable has no name or is not closed{in_text}");
            problem(
                "compose::invalid-template",
                message,
                span,
                "expected `${NAME}`",
            )
            .help("write `$$` for a literal dollar sign")
        }
        TemplateErrorKind::Required { name, reason } => {
            let message = match &*reason {
                "" => format!("the variable `{name}` must have a value"),
                reason => format!("the variable `{name}` must have a value: {reason}"),
            };
            problem(
                "compose::required-variable",
                message,
                span,
                "a value is required here",
            )
            .help(format!("set `{name}` in the environment or in `.env`"))
        }
        TemplateErrorKind::TooLarge => {
            let message = "the variables in this text make it too large";
            problem("compose::too-large", message, span, "here")
                .help("nest fewer defaults, or use smaller values")
        }
    }
}

/// The warning for a variable that is not set and has no default.
pub(super) fn unset(name: &str, span: Span) -> Diagnostic {
    let message = format!("the variable `{name}` is not set and is replaced by an empty string");
    Diagnostic::warning("compose::unset-variable", message)
        .at(span, "")
        .help(format!("write `${{{name}:-}}` if that is what you want"))
}

fn wrong_type(path: &[String], text: &str, wanted: &str, node: &YamlNode) -> Diagnostic {
    let path = path.join(".").replace(".[]", "[]");
    let message = format!("`{path}` must be {wanted}, not `{text}`");
    problem("compose::wrong-type", message, node.span, "here").help(format!(
        "write {wanted}, or set its variables so that they make one"
    ))
}

fn problem(code: &'static str, message: impl Into<String>, span: Span, label: &str) -> Diagnostic {
    Diagnostic::error(Class::Definition, code, message).at(span, label)
}

/// The type that Compose converts a string to after interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cast {
    Int,
    Float,
    Bool,
}

/// The conversions in services, by the path of keys.
const SERVICE: &[(&[&str], Cast)] = &[
    (&["cpu_count"], Cast::Int),
    (&["cpu_percent"], Cast::Float),
    (&["cpu_period"], Cast::Int),
    (&["cpu_quota"], Cast::Int),
    (&["cpu_rt_period"], Cast::Int),
    (&["cpu_rt_runtime"], Cast::Int),
    (&["cpus"], Cast::Float),
    (&["cpu_shares"], Cast::Int),
    (&["init"], Cast::Bool),
    (&["depends_on", "*", "required"], Cast::Bool),
    (&["depends_on", "*", "restart"], Cast::Bool),
    (&["deploy", "replicas"], Cast::Int),
    (&["deploy", "update_config", "parallelism"], Cast::Int),
    (
        &["deploy", "update_config", "max_failure_ratio"],
        Cast::Float,
    ),
    (&["deploy", "rollback_config", "parallelism"], Cast::Int),
    (
        &["deploy", "rollback_config", "max_failure_ratio"],
        Cast::Float,
    ),
    (&["deploy", "restart_policy", "max_attempts"], Cast::Int),
    (&["deploy", "placement", "max_replicas_per_node"], Cast::Int),
    (&["healthcheck", "retries"], Cast::Int),
    (&["healthcheck", "disable"], Cast::Bool),
    (&["oom_kill_disable"], Cast::Bool),
    (&["oom_score_adj"], Cast::Int),
    (&["pids_limit"], Cast::Int),
    (&["ports", "[]", "target"], Cast::Int),
    (&["privileged"], Cast::Bool),
    (&["read_only"], Cast::Bool),
    (&["scale"], Cast::Int),
    (&["stdin_open"], Cast::Bool),
    (&["tty"], Cast::Bool),
    (&["ulimits", "*"], Cast::Int),
    (&["ulimits", "*", "hard"], Cast::Int),
    (&["ulimits", "*", "soft"], Cast::Int),
    (&["volumes", "[]", "read_only"], Cast::Bool),
    (&["volumes", "[]", "volume", "nocopy"], Cast::Bool),
];

impl Cast {
    /// The conversion at `path`, if there is one. Compose converts nothing in `build`; numbers there are parsed
    /// from strings later.
    fn of(path: &[String]) -> Option<Self> {
        let (section, rest) = path.split_first()?;
        let (_, keys) = rest.split_first()?;
        match (&**section, keys) {
            ("services", keys) => SERVICE
                .iter()
                .find(|(pattern, _)| matches(pattern, keys))
                .map(|(_, cast)| *cast),
            ("networks", [key]) => matches!(
                &**key,
                "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6"
            )
            .then_some(Self::Bool),
            ("volumes" | "secrets" | "configs", [key]) if key == "external" => Some(Self::Bool),
            _ => None,
        }
    }

    fn apply(self, text: &str) -> Option<YamlValue> {
        match self {
            Self::Int => {
                let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
                let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                let number: Option<i64> = text.parse().ok().filter(|_| decimal);
                number.map(|number| YamlValue::Int(number.into()))
            }
            Self::Float => strconv::parse_float(text).map(YamlValue::Float),
            Self::Bool => match &*text.to_lowercase() {
                "true" | "y" | "yes" | "on" => Some(YamlValue::Bool(true)),
                "false" | "n" | "no" | "off" => Some(YamlValue::Bool(false)),
                _ => None,
            },
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "`true` or `false`",
        }
    }
}

fn matches(pattern: &[&str], keys: &[String]) -> bool {
    pattern.len() == keys.len()
        && pattern
            .iter()
            .zip(keys)
            .all(|(wanted, key)| *wanted == "*" || wanted == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    fn interpolated(text: &str, problems: &mut Diagnostics) -> YamlNode {
        let mut map = SourceMap::default();
        let id = map.add("compose.yaml", text);
        let mut documents = crate::yaml::parse(text, id).expect("YAML");
        let mut root = documents.remove(0).root;
        let lookup = |name: &str| match name {
            "N" => Some("12".to_owned()),
            "YES" => Some("Yes".to_owned()),
            _ => None,
        };
        interpolate(&mut root, &lookup, problems);
        root
    }

    #[test]
    fn values_of_services_are_converted_and_those_of_builds_are_not() {
        let text = "services:\n  a:\n    scale: ${N}\n    tty: $YES\n    ulimits: {x: '$N'}\n    \
                    build: {no_cache: '$YES', shm_size: $N, args: ['A=$N', $N]}\nsecrets: {s: {external: 'off'}}\n";
        let mut problems = Diagnostics::default();
        let root = interpolated(text, &mut problems);
        assert_eq!(problems.0, []);
        let value = |path: &str| {
            let node = path.split('.').try_fold(&root, |node, key| node.get(key));
            node.map(|node| node.value.clone())
        };
        let string = |text: &str| Some(YamlValue::String(text.to_owned()));
        assert_eq!(value("services.a.scale"), Some(YamlValue::Int(12)));
        assert_eq!(value("services.a.tty"), Some(YamlValue::Bool(true)));
        assert_eq!(value("services.a.ulimits.x"), Some(YamlValue::Int(12)));
        assert_eq!(value("services.a.build.no_cache"), string("Yes"));
        assert_eq!(value("services.a.build.shm_size"), string("12"));
        assert_eq!(value("secrets.s.external"), Some(YamlValue::Bool(false)));
        let args = root
            .get("services")
            .and_then(|s| s.get("a")?.get("build")?.get("args"));
        let args: Vec<_> = args
            .and_then(YamlNode::as_sequence)
            .expect("a list")
            .iter()
            .map(YamlNode::as_str)
            .collect();
        assert_eq!(args, [Some("A=12"), Some("12")]);
    }

    #[test]
    fn problems_point_at_the_variable() {
        let text = "services:\n  a:\n    image: \"x:${TAG:?no tag}\"\n    scale: ${YES}\n    \
                    build: {context: '${', target: $U, dockerfile_inline: \"a\\n${\"}\n";
        let mut problems = Diagnostics::default();
        interpolated(text, &mut problems);
        let told: Vec<_> = problems
            .0
            .iter()
            .map(|problem| (problem.code, &text[problem.labels[0].span.range()]))
            .collect();
        let expected = [
            ("compose::required-variable", "${TAG:?no tag}"),
            ("compose::wrong-type", "${YES}"),
            ("compose::invalid-template", "${"),
            ("compose::unset-variable", "$U"),
            ("compose::invalid-template", "\"a\\n${\""),
        ];
        assert_eq!(told, expected);
    }
}
