//! The cost of reading a large definition: parsing and evaluation of 1,000 and of 10,000 targets.
//!
//! Each target has a parent, arguments, and tags made by a function. The rows of the two sizes, by their targets per
//! second, show whether the cost stays linear.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::SystemTime;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rbake::definition::decode::{DecodeOptions, decode};
use rbake::definition::source::DefinitionSources;
use rbake::definition::{EvaluationInputs, evaluate};
use rbake::types::{Environment, Platform};

const SIZES: [usize; 2] = [1_000, 10_000];

fn definition(targets: usize) -> String {
    let mut text = r#"
variable "REGISTRY" { default = "registry.example.com" }
variable "TAG" { default = "latest" }
function "tags" {
  params = [name]
  result = ["${REGISTRY}/${name}:${TAG}", "${REGISTRY}/${name}:latest"]
}
target "base" {
  args = { A = "1", B = "two" }
  platforms = ["linux/amd64", "linux/arm64"]
}
"#
    .to_owned();
    for n in 0..targets {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"
target "t{n}" {{
  inherits = ["base"]
  context = "services/t{n}"
  args = {{
    NAME = "t{n}"
    INDEX = {n}
    MODE = TAG == "latest" ? "dev" : "prod"
  }}
  tags = tags("t{n}")
  cache-from = ["type=registry,ref=${{REGISTRY}}/cache:t{n}"]
}}
"#
        );
    }
    text
}

fn benches(c: &mut Criterion) {
    let environment = Environment::of([], ".");
    let platform = Platform::local();
    let inputs = EvaluationInputs {
        environment: &environment,
        vars: &[],
        command_context: None,
        local_platform: &platform,
        now: SystemTime::UNIX_EPOCH,
        readable: None,
    };
    let mut group = c.benchmark_group("definition");
    group.sample_size(10);
    for size in SIZES {
        let text = definition(size);
        let sources = DefinitionSources::of([("docker-bake.hcl", text.as_str())]);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(
            BenchmarkId::new("evaluate", size),
            &sources,
            |b, sources| {
                b.iter(|| black_box(evaluate(&mut sources.clone(), &inputs)));
            },
        );
        group.bench_with_input(BenchmarkId::new("decode", size), &sources, |b, sources| {
            b.iter_batched(
                || evaluate(&mut sources.clone(), &inputs),
                |evaluated| {
                    evaluated.and_then(|evaluated| decode(evaluated, DecodeOptions::default()))
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    // Mistakes in every target: the cost of reporting them is limited.
    let broken = definition(SIZES[0]).replace("\n  tags =", "\n  tags = [1 2]\n  labels =");
    let sources = DefinitionSources::of([("docker-bake.hcl", broken.as_str())]);
    group.throughput(Throughput::Elements(SIZES[0] as u64));
    group.bench_function("broken", |b| {
        b.iter(|| black_box(evaluate(&mut sources.clone(), &inputs)));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
