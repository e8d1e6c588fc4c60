//! Reduces a case while it still shows the same difference.
//!
//! Works on text, so that it does not depend on a syntax: first, files, arguments and variables are removed, then parts of the
//! texts: blocks, lines, bracketed parts, words.

use crate::Case;
use crate::make::tokens;

/// The smallest case found for which `shows` returns true, after at most `questions` calls of it.
pub fn shrink<E>(
    case: &Case,
    mut questions: usize,
    mut shows: impl FnMut(&Case) -> Result<bool, E>,
) -> Result<Case, E> {
    let mut best = case.clone();
    loop {
        let size = best.size();
        for step in STEPS {
            let mut place = 0;
            // Of a step's candidates, each that still shows it is kept, one after the other.
            while let Some(next) = step(&best, place) {
                if questions == 0 {
                    return Ok(best);
                }
                if next.size() < best.size() && {
                    questions -= 1;
                    shows(&next)?
                } {
                    best = next;
                } else {
                    place += 1;
                }
            }
        }
        if best.size() >= size {
            return Ok(best);
        }
    }
}

type Step = fn(&Case, usize) -> Option<Case>;

const STEPS: &[Step] = &[
    without_file,
    without_variable,
    without_arguments::<2>,
    without_arguments::<1>,
    |case, place| without_part(case, place, blocks),
    |case, place| without_part(case, place, lines),
    |case, place| without_part(case, place, brackets),
    |case, place| without_part(case, place, insides),
    |case, place| without_part(case, place, words::<4>),
    |case, place| without_part(case, place, words::<1>),
];

fn without_file(case: &Case, place: usize) -> Option<Case> {
    let name = case.files.keys().nth(place)?.clone();
    let mut next = case.clone();
    next.files.remove(&name);
    Some(next)
}

fn without_variable(case: &Case, place: usize) -> Option<Case> {
    let mut next = case.clone();
    (place < next.environment.len()).then(|| next.environment.remove(place))?;
    Some(next)
}

fn without_arguments<const N: usize>(case: &Case, place: usize) -> Option<Case> {
    let mut next = case.clone();
    (place + N <= next.args.len()).then(|| next.args.drain(place..place + N).count())?;
    Some(next)
}

// The place counts the parts of all texts.
fn without_part(
    case: &Case,
    mut place: usize,
    parts: fn(&str) -> Vec<(usize, usize)>,
) -> Option<Case> {
    for (name, text) in &case.files {
        let parts = parts(text);
        if let Some(part) = parts.get(place) {
            let mut next = case.clone();
            next.files.insert(name.clone(), cut(text, *part));
            return Some(next);
        }
        place -= parts.len();
    }
    let part = *parts(&case.stdin).get(place)?;
    Some(Case {
        stdin: cut(&case.stdin, part),
        ..case.clone()
    })
}

fn cut(text: &str, (start, end): (usize, usize)) -> String {
    format!("{}{}", &text[..start], &text[end..])
}

// From a line that is not indented to the next such line.
fn blocks(text: &str) -> Vec<(usize, usize)> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

fn lines(text: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        at += line.len();
        (at - line.len(), at)
    });
    lines.collect()
}

// Brackets with all that is between them.
fn brackets(text: &str) -> Vec<(usize, usize)> {
    let mut open = Vec::new();
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => open.push(at),
            ')' | ']' | '}' => parts.extend(open.pop().map(|start| (start, at + 1))),
            _ => {}
        }
    }
    parts.reverse();
    parts
}

fn insides(text: &str) -> Vec<(usize, usize)> {
    brackets(text)
        .into_iter()
        .map(|(start, end)| (start + 1, end - 1))
        .filter(|(start, end)| start < end)
        .collect()
}

fn words<const N: usize>(text: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    let mut ends = vec![0];
    for token in tokens(text) {
        at += token.len();
        ends.push(at);
    }
    ends.windows(N + 1)
        .filter_map(|ends| Some((*ends.first()?, *ends.last()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_does_not_matter_is_removed() {
        let mut case = Case::default();
        case.files.insert(
            "a".to_owned(),
            "x {\n  y = [1, bad(2)]\n}\nz {\n}\n".to_owned(),
        );
        case.files.insert("b".to_owned(), "other".to_owned());
        case.args = ["--set", "x", "t"].map(str::to_owned).to_vec();
        let small = shrink(&case, 1000, |case| {
            Ok::<_, ()>(case.files.get("a").is_some_and(|text| text.contains("bad")))
        });
        let small = small.unwrap();
        assert_eq!((small.size(), small.files["a"].as_str()), (4, "bad"));
    }
}
