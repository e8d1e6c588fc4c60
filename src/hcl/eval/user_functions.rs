//! User-defined functions.
//!
//! Their bodies are checked when they are declared, even if they are never called: every name in them must exist,
//! and no function may call itself, directly or through others. Start at [`UserFunctions::declare`].
//! [`crate::hcl::eval`] evaluates calls.

use std::sync::Arc;

use super::evaluator::Evaluator;
use super::namespace::{Namespace, UsedIn};
use crate::diag::{Class, Diagnostic, Span};
use crate::hcl::functions as library;
use crate::hcl::name_uses::{NameUse, references};
use crate::hcl::syntax::{Expr, ExprKind, Ident};
use crate::types::hash::{HashSet, IndexMap};

/// A function as a file declares it. The expressions are not checked yet.
#[derive(Debug)]
pub(crate) struct FunctionDecl<'a> {
    /// The function's name.
    pub(crate) name: &'a Ident,
    /// The expression of `params`, which must be a list of names. `None` if it is missing.
    pub(crate) params: Option<&'a Expr>,
    /// The expression of `variadic_params`: the name of the parameter for all further arguments.
    pub(crate) variadic: Option<&'a Expr>,
    /// The expression of `result`. `None` if it is missing.
    pub(crate) result: Option<&'a Expr>,
}

/// The functions of a definition, by name.
#[derive(Debug, Default)]
pub(crate) struct UserFunctions<'a>(IndexMap<Arc<str>, Arc<UserFunction<'a>>>);

/// A user-defined function, checked.
#[derive(Debug)]
pub(crate) struct UserFunction<'a> {
    /// The names of its parameters.
    pub(crate) params: Vec<Arc<str>>,
    /// The name of the parameter that gets all further arguments as a tuple.
    pub(crate) variadic: Option<Arc<str>>,
    /// The expression of its result. `None` if the declaration is invalid, which has been reported.
    pub(crate) result: Option<&'a Expr>,
    /// The position of its name.
    pub(crate) span: Span,
}

impl<'a> UserFunctions<'a> {
    /// The function with the name `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<UserFunction<'a>>> {
        self.0.get(name)
    }

    /// The names of all functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Declares the functions of a definition and checks their bodies. Returns a warning for each function that is
    /// never called because the library has one of the same name.
    pub(crate) fn declare<N: Namespace<'a>>(
        evaluator: &mut Evaluator<'a, N>,
        declared: &IndexMap<Arc<str>, FunctionDecl<'a>>,
    ) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let mut functions = IndexMap::default();
        for (name, declared) in declared {
            // Built-in functions take precedence, as in buildx, so a shadowed function is not validated.
            if library::lookup(name).is_some() {
                warnings.push(
                    Diagnostic::warning(
                        "definition::reserved-name",
                        format!("`{name}` is a built-in function, so this one is never called"),
                    )
                    .at(declared.name.span, "")
                    .help("give it another name"),
                );
                continue;
            }
            let function = declare_one(evaluator, declared);
            functions.insert(Arc::clone(name), function);
        }
        for name in cyclic(evaluator, &functions) {
            if let Some(function) = functions.get_mut(&name) {
                function.result = None;
            }
        }
        // A body may call any of the functions, so all must be declared before the first body is checked.
        evaluator.functions = Self(
            functions
                .into_iter()
                .map(|(name, function)| (name, Arc::new(function)))
                .collect(),
        );
        let all: Vec<_> = evaluator.functions.0.values().map(Arc::clone).collect();
        for function in all {
            check_body(evaluator, &function);
        }
        warnings
    }
}

fn declare_one<'a, N: Namespace<'a>>(
    evaluator: &mut Evaluator<'a, N>,
    declared: &FunctionDecl<'a>,
) -> UserFunction<'a> {
    let name = &declared.name.text;
    let at = declared.name.span;
    let mut sound = true;
    let mut complain = |evaluator: &mut Evaluator<'a, N>, problem: Diagnostic| {
        evaluator.report(problem);
        sound = false;
    };
    let mut params = Vec::new();
    match declared.params {
        None => complain(
            evaluator,
            error(format!("function `{name}` has no `params`"))
                .at(at, "")
                .help("write `params = []` if it takes none"),
        ),
        Some(list) => match &list.kind {
            ExprKind::Tuple(items) => {
                for item in items {
                    match item.keyword() {
                        Some(word) => params.push(Arc::from(word)),
                        None => complain(evaluator, not_a_parameter(item.span)),
                    }
                }
            }
            _ => complain(
                evaluator,
                error("`params` must be a list of names".to_owned())
                    .at(list.span, "")
                    .help("write them as in `params = [a, b]`"),
            ),
        },
    }
    let variadic = declared.variadic.and_then(|expr| {
        let word = expr.keyword();
        if word.is_none() {
            complain(evaluator, not_a_parameter(expr.span));
        }
        word.map(Arc::from)
    });
    if declared.result.is_none() {
        complain(
            evaluator,
            error(format!("function `{name}` has no `result`"))
                .at(at, "")
                .help("add `result = …` with the value that it returns"),
        );
    }
    UserFunction {
        params,
        variadic,
        result: declared.result.filter(|_| sound),
        span: at,
    }
}

fn error(message: String) -> Diagnostic {
    Diagnostic::error(Class::Definition, "definition::invalid-function", message)
}

fn not_a_parameter(at: Span) -> Diagnostic {
    error("a parameter must be a bare word".to_owned())
        .at(at, "")
        .help("write it without quotes, dots or brackets")
}

/// Reports unknown names in a function's body. Unlike elsewhere, this is a mistake even in an argument of `try`.
fn check_body<'a, N: Namespace<'a>>(evaluator: &mut Evaluator<'a, N>, function: &UserFunction<'a>) {
    let Some(result) = function.result else {
        return;
    };
    references(result, &mut |reference| match reference {
        NameUse::Variable(name, at) => {
            let is_param =
                function.params.contains(name) || function.variadic.as_ref() == Some(name);
            if is_param || evaluator.named(name).is_some() {
                return;
            }
            let problem = Diagnostic::error(
                Class::Definition,
                "definition::unknown-variable",
                format!("there is no variable `{name}`"),
            )
            .at(at, "not defined")
            .context(function.span, "in this function");
            let problem = if let Some(advice) = evaluator.names.advice(name, UsedIn::FunctionBody) {
                problem.help(advice)
            } else {
                let candidates = function
                    .params
                    .iter()
                    .chain(&function.variadic)
                    .map(|param| &**param)
                    .chain(evaluator.all_names());
                problem.did_you_mean("a variable", name, candidates)
            };
            evaluator.report(problem);
        }
        NameUse::Function(name, at) => {
            if library::lookup(name).is_none() && evaluator.functions.get(name).is_none() {
                let problem = evaluator
                    .unknown_function(name, at)
                    .context(function.span, "in this function");
                evaluator.report(problem);
            }
        }
    });
}

/// Finds the functions that call themselves, directly or through others, and reports each cycle once.
fn cyclic<'a, N: Namespace<'a>>(
    evaluator: &mut Evaluator<'a, N>,
    functions: &IndexMap<Arc<str>, UserFunction<'a>>,
) -> HashSet<Arc<str>> {
    let calls: IndexMap<&Arc<str>, Vec<(Arc<str>, Span)>> = functions
        .iter()
        .map(|(name, function)| {
            let mut called = Vec::new();
            if let Some(result) = function.result {
                references(result, &mut |reference| {
                    if let NameUse::Function(callee, at) = reference
                        && library::lookup(callee).is_none()
                        && functions.contains_key(callee)
                    {
                        called.push((Arc::clone(callee), at));
                    }
                });
            }
            (name, called)
        })
        .collect();
    let mut found = HashSet::default();
    let mut done: HashSet<&Arc<str>> = HashSet::default();
    for start in calls.keys() {
        // A depth-first search without recursion, because a chain of calls may be as long as the file.
        let mut path: Vec<(&Arc<str>, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.last_mut() {
            let name = *name;
            let Some((callee, at)) = calls.get(name).and_then(|called| called.get(*next)) else {
                done.insert(name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(from) = path.iter().position(|(on_path, _)| *on_path == callee) {
                let circle: Vec<&str> = path[from..].iter().map(|(name, _)| &***name).collect();
                if found.insert(Arc::clone(callee)) {
                    evaluator.report(circular(&circle, *at));
                }
                found.extend(path[from..].iter().map(|(name, _)| Arc::clone(name)));
            } else if !done.contains(callee)
                && let Some((callee, _)) = calls.get_key_value(callee)
            {
                path.push((callee, 0));
            }
        }
    }
    found
}

fn circular(circle: &[&str], at: Span) -> Diagnostic {
    let name = circle.first().copied().unwrap_or_default();
    let message = match circle {
        [_] => format!("function `{name}` calls itself"),
        _ => format!(
            "function `{name}` calls itself: `{}` → `{name}`",
            circle.join("` → `")
        ),
    };
    Diagnostic::error(Class::Definition, "definition::cycle", message)
        .at(at, "this call completes the cycle")
        .help("functions cannot be recursive; use a `for` expression")
}
