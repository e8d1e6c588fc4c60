//! Any lines as the elements of the attributes that are lists of comma-separated fields.
//!
//! The first character of a line selects the attribute that gets the rest of the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rbake::definition::source::DefinitionSources;
use serde_json::{Map, Value, json};

const LISTS: [&str; 14] = [
    "output",
    "cache-from",
    "cache-to",
    "secret",
    "ssh",
    "attest",
    "platforms",
    "ulimits",
    "policy",
    "annotations",
    "entitlements",
    "tags",
    "no-cache-filter",
    "shm-size",
];

fuzz_target!(|text: &str| {
    let mut target = Map::new();
    for line in text.lines().take(64) {
        let mut letters = line.chars();
        let which = letters.next().map_or(0, |letter| letter as usize) % LISTS.len();
        let name = LISTS[which];
        let element = json!(letters.as_str());
        if name == "shm-size" {
            target.insert(name.to_owned(), element);
        } else if let Value::Array(elements) = target.entry(name).or_insert_with(|| json!([])) {
            elements.push(element);
        }
    }
    let definition = json!({ "target": { "a": target, "b": { "inherits": ["a"] } } }).to_string();
    // Braces that follow `$` and `%` are templates in JSON definitions as well, which is intended.
    let sources = DefinitionSources::of([("docker-bake.json", definition.as_str())]);
    rbake_fuzz::print(sources, &["a", "b"], &[]);
});
