//! Any text as an HCL definition.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rbake::definition::source::DefinitionSources;

fuzz_target!(|text: &str| {
    let sources = DefinitionSources::of([("docker-bake.hcl", text)]);
    rbake_fuzz::print(sources, &["*"], &[]);
});
