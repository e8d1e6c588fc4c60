//! Caches in GitHub's service, beside buildx.

use test_case::test_case;

use crate::support::github_cache::GithubCache;
use crate::support::project::TestProject;

use super::object_caches::{self, Storage};

const fn storage(with_keys: fn(TestProject) -> TestProject) -> Storage {
    Storage {
        cache: |more| format!("type=gha,{}", more.replacen("name=", "scope=", 1)),
        with_keys,
    }
}

#[test_case(|project| GithubCache::V1.with(project); "version 1")]
#[test_case(|project| GithubCache::V2.with(project); "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn each_program_finds_the_steps_of_the_other(with_keys: fn(TestProject) -> TestProject) {
    object_caches::each_program_finds_the_steps_of_the_other(storage(with_keys)).await;
}
