//! A target that several nodes build, each for some of its platforms.
//!
//! Each node solves its part of the target as a target of its own ([`super::target::TargetRun`]). What must be one for all parts is here:
//! the id of the build, the end of the target ([`run()`]), and the meeting at which the parts exchange the indexes that they have built
//! ([`TargetPart`]). [`outputs`] says which outputs can be made of parts, and pushes images whose tags the builder would set.
//! `publishing` makes the index of an image that rbake publishes.

mod meeting;
mod outputs;

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::nodes::alone;
use super::scheduler::NotBuilt;
use super::target::TargetWork;
use crate::outcome::Solved;
use crate::types::Digest;

pub(super) use meeting::{PartImage, PushDecision, SpreadTarget, TargetPart, not_merged};
pub(super) use outputs::adapt;

const DIGEST: &str = "containerimage.digest";

/// Builds all parts of a target. Ends when all have ended. If one fails, the others are cancelled.
pub(super) async fn run(
    spread: Arc<SpreadTarget>,
    parts: Vec<TargetWork>,
) -> Result<Solved, NotBuilt> {
    let shared = parts.first().map(|(run, _)| Arc::clone(&run.shared));
    let halts: Vec<_> = parts.iter().map(|(run, _)| run.halt.clone()).collect();
    let mut running: FuturesUnordered<_> = parts
        .into_iter()
        .enumerate()
        .map(
            |(number, (run, lowered))| async move { (number, Box::pin(alone(run, lowered)).await) },
        )
        .collect();
    let mut solved: Vec<Option<Solved>> = halts.iter().map(|_| None).collect();
    let mut failed = None;
    while let Some((number, end)) = running.next().await {
        match end {
            Ok(end) => {
                if let Some(place) = solved.get_mut(number) {
                    *place = Some(end);
                }
            }
            Err(why) => {
                // The first failure is the reason; those after it are cancelled because of it.
                failed.get_or_insert(why);
                halts
                    .iter()
                    .for_each(tokio_util::sync::CancellationToken::cancel);
            }
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    let solved: Vec<Solved> = solved.into_iter().flatten().collect();
    let pushed = match shared {
        Some(shared) => outputs::push(&spread, &solved, &shared).await?,
        None => None,
    };
    Ok(joined(solved, pushed.as_ref().or(spread.published.get())))
}

/// What became of the whole target, whose parts ended as `parts`. As in buildx, the response is that of the first node, or only has the
/// digest of the index that was pushed.
fn joined(parts: Vec<Solved>, pushed: Option<&Digest>) -> Solved {
    let sizes: Option<Vec<u64>> = parts.iter().map(|part| part.size).collect();
    let elapsed = parts
        .iter()
        .map(|part| part.elapsed)
        .max()
        .unwrap_or_default();
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    whole.elapsed = elapsed;
    whole.size = sizes.map(|sizes| sizes.into_iter().sum());
    for part in parts {
        whole.special.add(&part.special);
    }
    if let Some(digest) = pushed {
        whole.response = [(DIGEST.to_owned(), digest.to_string())].into();
        whole.node_path = None;
        whole.made = None;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn part(response: &[(&str, &str)], size: Option<u64>, seconds: u64) -> Solved {
        let response = response
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Solved {
            response: response.collect(),
            size,
            elapsed: Duration::from_secs(seconds),
            node_path: Some("b/n".to_owned()),
            ..Solved::default()
        }
    }

    #[test]
    fn the_response_is_that_of_the_first_node() {
        let parts = vec![
            part(&[("a", "1"), (DIGEST, "x")], Some(2), 1),
            part(&[("a", "2")], Some(3), 5),
        ];
        let whole = joined(parts, None);
        assert_eq!(whole.response["a"], "1");
        assert_eq!((whole.size, whole.elapsed.as_secs()), (Some(5), 5));
        assert_eq!(whole.node_path.as_deref(), Some("b/n"));
    }

    #[test]
    fn an_image_that_was_merged_has_only_a_digest() {
        let parts = || {
            vec![
                part(&[("a", "1"), (DIGEST, "x")], None, 1),
                part(&[], Some(3), 5),
            ]
        };
        let digest = Digest::sha256(b"y");
        let whole = joined(parts(), Some(&digest));
        assert_eq!(
            whole.response.into_iter().collect::<Vec<_>>(),
            [(DIGEST.to_owned(), digest.to_string())]
        );
        assert_eq!((whole.size, whole.node_path), (None, None));
    }
}
