//! Any text as an HCL definition.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rbake::definition::source::Sources;

fuzz_target!(|text: &str| {
    let sources = Sources::of([("docker-bake.hcl", text)]);
    rbake_fuzz::print(sources, &["*"], &[]);
});
