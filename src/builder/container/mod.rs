//! The containers of builders with the driver `docker-container`: made and started as buildx does it.
//!
//! The container's name, volume, command and settings are buildx's (`driver/docker-container/driver.go` at v0.36.1), so
//! that each program uses and removes what the other has made. Unlike buildx, rbake does not check the signature of the
//! image, and does not ask for GPUs. Start at [`make`].

mod options;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use futures_util::StreamExt as _;

pub(crate) use options::{ContainerOptions, DriverOptionError, check_remote};

use super::create::config_files::{CONFIG, FOLDER};
use super::error::BuilderRefusal;
use super::notice::Notice;
use super::store::Node;
use crate::credential::{Provider, ProviderOptions};
use crate::engine::docker::{ContainerSpec, Creation, Docker};
use crate::event::EventSink;
use crate::types::causes::in_one_line;
use crate::types::{Clock, Environment, Reference};

/// The image of a builder whose options name none.
const DEFAULT_IMAGE: &str = "moby/buildkit:buildx-stable-1";
/// The cgroup of all builders, if the Engine makes cgroups itself.
const CGROUP: &str = "/docker/buildx";
/// The folder of buildkitd's state in the container.
const STATE: &str = "/var/lib/buildkit";
/// The folder above [`FOLDER`].
const ABOVE_CONFIG: &str = "/etc";
/// How many lines of a log are shown in an error.
const TAIL: usize = 10;
/// How many lines of a log are read for that. buildkitd writes a long stack, or all its flags, behind its last words.
const READ: usize = 400;
/// With these, the last words of buildkitd begin (moby/buildkit `cmd/buildkitd/main.go`, urfave/cli).
const LAST_WORDS: [&str; 2] = ["buildkitd: ", "Incorrect Usage"];
/// The most that is read of a log for an error, in bytes.
const TAIL_BYTES: usize = 64 << 10;
/// The most time that the Engine may take for that.
const TAIL_LIMIT: Duration = Duration::from_secs(5);

/// The container of the node `node`.
pub(crate) fn container_of(node: &str) -> String {
    format!("buildx_buildkit_{node}")
}

/// The volume with the state of the builder in `container`.
pub(crate) fn volume_of(container: &str) -> String {
    format!("{container}_state")
}

/// Makes the container of `node`, without starting it. Pulls the image; if that fails, one that the Engine has is used.
///
/// If another process makes the container at the same time, that one also starts it, once it has copied the files.
pub(super) async fn make(
    docker: &Docker,
    container: &str,
    node: &Node,
    environment: &Environment,
    events: &EventSink,
) -> Result<Creation, BuilderRefusal> {
    let options = ContainerOptions::parse(&node.driver_opts)?;
    let image = options.image.as_deref().unwrap_or(DEFAULT_IMAGE);
    pull(docker, image, environment, events).await?;
    let setup = docker.container_setup().await?;
    let volume = volume_of(container);
    let arguments = arguments(node);
    let mut limits = options.limits.clone();
    limits.cgroup_parent = setup
        .makes_cgroups
        .then(|| limits.cgroup_parent.unwrap_or_else(|| CGROUP.to_owned()));
    let spec = ContainerSpec {
        name: container,
        image,
        arguments: &arguments,
        env: &options.env,
        network: options.network.as_deref(),
        restart: options.restart,
        limits,
        has_host_users: setup.remaps_users,
        volume: (&volume, STATE),
    };
    let creation = docker.create_container(&spec).await?;
    if creation == Creation::Made {
        tracing::info!(container, image, "container made");
        copy_files(docker, container, node).await?;
    }
    Ok(creation)
}

/// Copies the files of `node`'s configuration into its container. Has no effect if it has none.
pub(super) async fn copy_files(
    docker: &Docker,
    container: &str,
    node: &Node,
) -> Result<(), BuilderRefusal> {
    if node.files.is_empty() {
        return Ok(());
    }
    let tar = archive(node).map_err(BuilderRefusal::Files)?;
    docker.upload(container, ABOVE_CONFIG, tar).await?;
    Ok(())
}

async fn pull(
    docker: &Docker,
    image: &str,
    environment: &Environment,
    events: &EventSink,
) -> Result<(), BuilderRefusal> {
    let reference: Reference = image.parse().map_err(|source| BuilderRefusal::Image {
        image: image.to_owned(),
        source,
    })?;
    let notice = Notice::begin(events, "builder-image", &format!("pull the image {image}"));
    let provider = Provider::new(ProviderOptions {
        environment,
        clock: Clock::system(),
        withheld: BTreeSet::new(),
        notices: events.notices(),
    });
    // Without a credential, the registry itself says what is missing.
    let credential = provider.credential(reference.domain(), &[], &[]).await;
    let credential = credential.unwrap_or_default();
    let pulled = docker.pull(&reference, &credential).await;
    provider.end_helpers();
    let Err(error) = pulled else {
        notice.end(None);
        return Ok(());
    };
    notice.end(Some(&in_one_line(&error)));
    if docker.has_image(image).await? {
        tracing::info!(image, cause = %in_one_line(&error), "image not pulled, the Engine's own is used");
        return Ok(());
    }
    Err(error.into())
}

/// The arguments of buildkitd: the user's come last, so that they can name another configuration.
fn arguments(node: &Node) -> Vec<String> {
    let mut all = Vec::new();
    if node.files.contains_key(CONFIG) {
        all.extend(["--config".to_owned(), format!("{FOLDER}/{CONFIG}")]);
    }
    all.extend(node.flags.iter().flatten().cloned());
    all
}

/// The files of `node`, as an archive of the folder of buildkitd's configuration.
fn archive(node: &Node) -> std::io::Result<Vec<u8>> {
    let folder = FOLDER.rsplit('/').next().unwrap_or_default();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in &node.files {
        let content = base64::prelude::BASE64_STANDARD
            .decode(content.expose())
            .map_err(|_| {
                let why = format!("the content of `{name}` in buildx's store is not valid base64");
                std::io::Error::new(std::io::ErrorKind::InvalidData, why)
            })?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Refuses names that lead out of the folder.
        builder.append_data(&mut header, format!("{folder}/{name}"), content.as_slice())?;
    }
    builder.into_inner()
}

/// The last words of the buildkitd in `container`, for an error. Empty if its log cannot be read.
pub(super) async fn log_tail(docker: &Docker, container: &str) -> Vec<String> {
    let read = async {
        let mut text = Vec::new();
        let mut pieces = std::pin::pin!(docker.logs(container, Some(READ), false).ok()?);
        while let Some(Ok(piece)) = pieces.next().await {
            text.extend_from_slice(&piece);
            if text.len() > TAIL_BYTES {
                break;
            }
        }
        Some(text)
    };
    let read = tokio::time::timeout(TAIL_LIMIT, read).await;
    let text = read.ok().flatten().unwrap_or_default();
    last_words(&String::from_utf8_lossy(&text))
}

/// The line with which buildkitd has ended, and some after it; or the last lines, if there is none.
fn last_words(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let is_end = |line: &&str| LAST_WORDS.iter().any(|begin| line.starts_with(begin));
    let from = lines
        .iter()
        .rposition(is_end)
        .unwrap_or(lines.len().saturating_sub(TAIL));
    let shown = lines.iter().skip(from).take(TAIL);
    shown
        .map(|line| crate::types::secret::redact_urls(line).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Secret;

    fn node(files: &[(&str, &str)]) -> Node {
        let files = files.iter().map(|(name, text)| {
            let content = base64::prelude::BASE64_STANDARD.encode(text);
            ((*name).to_owned(), Secret::new(content))
        });
        Node {
            name: "ci0".to_owned(),
            flags: Some(vec!["--debug".to_owned()]),
            files: files.collect(),
            ..Node::default()
        }
    }

    #[test]
    fn the_flags_of_the_user_follow_the_configuration() {
        assert_eq!(arguments(&node(&[])), ["--debug"]);
        let with_config = node(&[("buildkitd.toml", "debug = true")]);
        assert_eq!(
            arguments(&with_config),
            ["--config", "/etc/buildkit/buildkitd.toml", "--debug"]
        );
    }

    #[test]
    fn the_last_words_of_buildkitd_are_found_before_its_stack() {
        let stack: Vec<String> = (0..50).map(|n| format!("runtime.main{n}")).collect();
        let stack = stack.join("\n");
        let log =
            format!("level=info msg=ok\nbuildkitd: old\nbuildkitd: no such snapshotter\n{stack}");
        let words = last_words(&log);
        assert_eq!(
            (words[0].as_str(), words.len()),
            ("buildkitd: no such snapshotter", TAIL)
        );
        let words = last_words(&stack);
        assert_eq!((words[0].as_str(), words.len()), ("runtime.main40", TAIL));
        assert!(last_words("").is_empty());
    }

    #[test]
    fn the_archive_has_the_files_below_the_folder_of_the_configuration() {
        let tar = archive(&node(&[("buildkitd.toml", "x"), ("certs/h/ca.pem", "y")])).unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            names,
            ["buildkit/buildkitd.toml", "buildkit/certs/h/ca.pem"]
        );
    }

    #[test]
    fn files_that_lead_out_of_the_folder_or_are_not_base64_are_refused() {
        assert!(archive(&node(&[("../../root/x", "x")])).is_err());
        let mut broken = node(&[]);
        broken
            .files
            .insert("x".to_owned(), Secret::new("%".to_owned()));
        let error = archive(&broken).unwrap_err().to_string();
        assert!(error.contains("`x` in buildx's store"), "{error}");
    }
}
