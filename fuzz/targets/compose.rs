//! Any text as Compose files: a line of dashes begins a further file, which is merged over the ones before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rbake::definition::source::DefinitionSources;

const NAMES: [&str; 3] = ["compose.yaml", "override.yaml", "further.yaml"];

fuzz_target!(|text: &str| {
    // Text after such a line would be a second document, which is not read.
    let files = text.split("\n---\n");
    let sources = DefinitionSources::of(NAMES.into_iter().zip(files));
    rbake_fuzz::print(sources, &["*"], &[]);
});
