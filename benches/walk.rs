//! The walk through a context of 50,000 files, with and without a long ignore file.

use std::ops::ControlFlow;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rbake::context::{Context, Filter, FilterSpec};

const FILES: u64 = 50_000;
const PER_DIR: u64 = 25;

fn make(root: &Path) {
    for dir in 0..FILES / PER_DIR {
        let path = root.join(format!("part-{}/package-{dir:04}/src", dir % 40));
        std::fs::create_dir_all(&path).expect("a directory for the bench");
        for file in 0..PER_DIR {
            std::fs::write(path.join(format!("module_{file:02}.py")), "x = 1\n")
                .expect("a file for the bench");
        }
    }
}

// Patterns as in long ignore files.
fn ignore_lines(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| match n % 8 {
            0 => format!("**/cache-{n}"),
            1 => format!("**/*.tmp{n}"),
            2 => format!("build-{n}/out/**"),
            3 => format!("docs/chapter-{n}/*.md"),
            4 => format!("!docs/chapter-{n}/keep.md"),
            5 => format!("part-{n}/package-*/target"),
            6 => format!("vendor/thing-{n}"),
            _ => format!("**/node_modules/.bin{n}/**/*.js"),
        })
        .map(String::into_bytes)
        .collect()
}

fn walk(context: &Context, filter: &Filter) -> u64 {
    let mut entries = 0;
    let done = context.walk(filter, |_| {
        entries += 1;
        ControlFlow::Continue(())
    });
    assert!(done.is_ok());
    entries
}

fn bench(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the bench");
    make(dir.path());
    let context = Context::open(dir.path()).expect("the bench's own directory");
    let mut group = criterion.benchmark_group("walk");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(FILES + FILES / PER_DIR * 2 + 40));
    for (name, patterns) in [("everything", 0), ("ignore-10", 10), ("ignore-400", 400)] {
        let spec = FilterSpec {
            exclude: ignore_lines(patterns),
            ..FilterSpec::default()
        };
        let filter = context.filter(&spec).expect("the bench's own patterns");
        group.bench_function(name, |b| b.iter(|| walk(&context, &filter)));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
