//! The cost of `--print`, pass by pass: definitions of 1,000 and 10,000 targets, each with inheritance, arguments, and tags
//! from a function.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::SystemTime;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rbake::definition::model::Definition;
use rbake::definition::source::DefinitionSources;
use rbake::definition::{self, decode};
use rbake::plan::{self, PlanRequest, TargetOverride};
use rbake::types::{Environment, Platform};

fn text(targets: usize) -> String {
    let mut text = String::from(
        r#"
variable "TAG" { default = "1.2.3" }
function "tags" {
  params = [name]
  result = ["example.com/site/${name}:${TAG}", "example.com/site/${name}:latest"]
}
target "base" {
  args       = { A = "a", B = "b" }
  cache-from = ["type=registry,ref=example.com/cache"]
  labels     = { "org.example.team" = "one" }
}
"#,
    );
    for n in 0..targets {
        let _ = write!(
            text,
            r#"
target "service-{n}" {{
  inherits = ["base"]
  args     = {{ NAME = "service-{n}", B = "other" }}
  tags     = tags("service-{n}")
  output   = ["type=image"]
}}
"#
        );
    }
    text
}

fn evaluate(
    sources: &DefinitionSources,
    environment: &Environment,
) -> Option<definition::evaluated::Evaluated> {
    let inputs = definition::EvaluationInputs {
        environment,
        vars: &[],
        command_context: None,
        local_platform: &Platform::local(),
        now: SystemTime::UNIX_EPOCH,
        readable: None,
    };
    definition::evaluate(&mut sources.clone(), &inputs).ok()
}

fn planned(definition: &Definition, environment: &Environment) -> Option<plan::Plan> {
    let request = PlanRequest {
        targets: &["*".to_owned()],
        overrides: &[TargetOverride::push(true)],
        policies_disabled: false,
        environment,
    };
    plan::build(definition, &request).ok()
}

fn passes(c: &mut Criterion) {
    let environment = Environment::of([], "/nonexistent");
    let mut group = c.benchmark_group("print");
    group.sample_size(10);
    for targets in [1_000_usize, 10_000] {
        group.throughput(Throughput::Elements(targets as u64));
        let sources = DefinitionSources::of([("docker-bake.hcl", text(targets).as_str())]);
        group.bench_function(BenchmarkId::new("evaluate", targets), |b| {
            b.iter(|| black_box(evaluate(&sources, &environment)));
        });
        let Some(evaluated) = evaluate(&sources, &environment) else {
            return;
        };
        group.bench_function(BenchmarkId::new("decode", targets), |b| {
            b.iter_batched(
                || evaluated.clone(),
                |evaluated| black_box(decode::decode(evaluated, decode::DecodeOptions::default())),
                BatchSize::LargeInput,
            );
        });
        let Ok(definition) = decode::decode(evaluated, decode::DecodeOptions::default()) else {
            return;
        };
        group.bench_function(BenchmarkId::new("build", targets), |b| {
            b.iter(|| black_box(planned(&definition, &environment)));
        });
        let Some(plan) = planned(&definition, &environment) else {
            return;
        };
        group.bench_function(BenchmarkId::new("write", targets), |b| {
            b.iter(|| black_box(plan::print(&plan)));
        });
    }
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
