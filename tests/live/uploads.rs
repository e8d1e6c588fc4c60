//! Who sends the layers of images and caches, and what is sent.

use http::Method;
use test_case::test_case;

use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, lines};
use crate::support::releases::{Release, ReleaseProject};

/// A registry behind a proxy, and a project with two images in it.
struct Place {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
}

/// The arguments that read the further definition.
const WITH_MORE: [&str; 4] = ["--file", "docker-bake.hcl", "--file", "more.hcl"];

impl Place {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let project = ReleaseProject::new(&proxy.address(), "team", 2);
        Self {
            registry,
            proxy,
            project,
        }
    }

    fn contents(&self) -> RegistryContents {
        self.registry.contents()
    }

    /// Says who sends layers.
    fn upload_by(&self, upload: &str) {
        let settings = format!("[publish]\nupload = \"{upload}\"\n");
        std::fs::write(self.project.path().join("rbake.toml"), settings).unwrap();
    }

    /// Writes a further definition, in which the target `a` has this Dockerfile, and imports and exports a cache.
    fn write_more(&self, dockerfile: &str) {
        let cache = format!("type=registry,ref={}/team/cache:main", self.proxy.address());
        let text = format!(
            "target \"a\" {{\n  dockerfile-inline = {dockerfile:?}\n  cache-from = [\"{cache}\"]\n  \
             cache-to = [\"{cache},mode=max\"]\n}}\n"
        );
        std::fs::write(self.project.path().join("more.hcl"), text).unwrap();
    }

    /// Publishes the target `a` with the builder at `builder`.
    fn publish(&self, release: &Release, builder: &Buildkitd, arguments: &[&str]) {
        let arguments = [&WITH_MORE[..], &["a"], arguments].concat();
        let mut command = self.project.command(release, &arguments);
        let output = self
            .project
            .run(command.env("BUILDKIT_HOST", builder.endpoint().to_string()));
        assert_eq!(output.code, Some(0), "{output}");
    }

    /// The layers of the image under `tag` of `repository`.
    async fn layers(&self, repository: &str, tag: &str) -> Vec<String> {
        let contents = self.contents();
        contents.assert_whole(repository, tag).await;
        let index = contents.json(repository, tag).await.unwrap();
        let platform = index["manifests"][0]["digest"].as_str().unwrap();
        let manifest = contents.json(repository, platform).await.unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let digest = |layer: &serde_json::Value| layer["digest"].as_str().unwrap().to_owned();
        layers.map(digest).collect()
    }
}

/// The digests of the blobs that were sent to the registry, once for each time.
fn sent_blobs(log: &[ProxiedRequest]) -> Vec<String> {
    let uploads = log
        .iter()
        .filter(|request| request.method == Method::PUT && request.succeeded())
        .filter(|request| request.path.contains("/blobs/uploads/"));
    let digest = |request: &ProxiedRequest| {
        let (_, query) = request.path.split_once('?')?;
        let mut pairs = query.split('&');
        let digest = pairs.find_map(|pair| pair.strip_prefix("digest="))?;
        Some(digest.replace("%3A", ":"))
    };
    uploads.filter_map(digest).collect()
}

#[test_case("rbake"; "by rbake")]
#[test_case("builder"; "by the builder")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_layer_of_several_images_and_of_their_cache_is_sent_once(upload: &str) {
    let place = Place::new().await;
    place.upload_by(upload);
    let commit = place.project.commit("one");
    let release = Release::of(&commit, 1);
    let stages = "FROM busybox AS shared\\nRUN head -c 300000 /dev/urandom > /shared\\n\
        FROM shared AS a\\nRUN head -c 300000 /dev/urandom > /a\\n\
        FROM shared AS b\\nRUN head -c 300000 /dev/urandom > /b\\n";
    let cache = format!(
        "type=registry,ref={}/team/cache:main,mode=max",
        place.proxy.address()
    );
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  dockerfile-inline = \"{stages}\"\n  target = \"{name}\"\n  \
             cache-to = [\"{cache}\"]\n}}\n"
        )
    };
    let more = target("a") + &target("b");
    std::fs::write(place.project.path().join("more.hcl"), more).unwrap();
    let files = ["--file", "docker-bake.hcl", "--file", "more.hcl"];
    let output = place.project.publish(&release, &files);
    assert_eq!(output.code, Some(0), "{output}");

    let log = place.proxy.log();
    let contents = place.contents();
    let mut layers: Vec<String> = Vec::new();
    for image in place.project.images() {
        contents.assert_whole(image, "latest").await;
        let index = contents.json(image, "latest").await.unwrap();
        let platform = index["manifests"][0]["digest"].as_str().unwrap();
        let manifest = contents.json(image, platform).await.unwrap();
        let of_image = manifest["layers"].as_array().unwrap().iter();
        layers.extend(of_image.map(|layer| layer["digest"].as_str().unwrap().to_owned()));
    }
    contents.assert_whole("team/cache", "main").await;
    layers.sort();
    layers.dedup();
    // That of the base image, the common one, and one of each image.
    assert_eq!(layers.len(), 4);
    let sent = sent_blobs(&log);
    for layer in &layers {
        let count = sent.iter().filter(|blob| *blob == layer).count();
        assert_eq!(count, 1, "{layer}\n{}", lines(&log));
    }
    let of_layers = |request: &&ProxiedRequest| {
        let mut layers = layers.iter();
        layers.any(|layer| {
            request
                .path
                .contains(layer.strip_prefix("sha256:").unwrap())
        })
    };
    let by_builder = log.iter().filter(|request| !request.is_from_rbake());
    let is_expected = by_builder.filter(of_layers).count() == 0;
    assert_eq!(is_expected, upload == "rbake", "{}", lines(&log));
}

/// Three layers, each of a size that is sent from the builder's store.
const LAYERS: &str = "FROM busybox\nRUN head -c 300000 /dev/urandom > /one\n\
    RUN head -c 2000000 /dev/urandom > /two\n";

#[test_case("rbake"; "by rbake")]
#[test_case("builder"; "by the builder")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn layers_that_an_empty_builder_has_not_downloaded_are_not_made_or_sent_again(upload: &str) {
    let place = Place::new().await;
    place.upload_by(upload);
    let first = Release::of(&place.project.commit("one"), 1);
    let builder = Buildkitd::start_with_images().await;
    place.write_more(LAYERS);
    place.publish(&first, &builder, &[]);
    let layers = place.layers("team/a", "latest").await;
    assert_eq!(layers.len(), 3);

    // The same repository, and one that has nothing yet: there, the layers come from the cache.
    for repository in ["team/a", "team/new"] {
        let empty = Buildkitd::start_with_images().await;
        place.write_more(&format!("{LAYERS}LABEL for={repository}\n"));
        let next = Release::of(&place.project.commit(repository), 2);
        place.proxy.clear().await;
        let tags = format!("a.tags={}/{repository}:latest", place.proxy.address());
        place.publish(&next, &empty, &["--set", &tags]);
        let log = place.proxy.log();
        // If a step had run again, its layer would be another one.
        assert_eq!(place.layers(repository, "latest").await, layers);
        let cache = place.contents().json("team/cache", "main").await.unwrap();
        let cached = cache["layers"].as_array().unwrap().iter();
        let mut cached: Vec<_> = cached
            .map(|layer| layer["digest"].as_str().unwrap())
            .collect();
        let mut expected: Vec<_> = layers.iter().map(String::as_str).collect();
        cached.sort_unstable();
        expected.sort_unstable();
        assert_eq!(cached, expected);
        let sent = sent_blobs(&log);
        let is_sent = layers.iter().any(|layer| sent.contains(layer));
        assert!(!is_sent, "{}", lines(&log));
        let reads = |request: &&ProxiedRequest| {
            request.method == Method::GET && layers.iter().any(|it| request.path.contains(it))
        };
        assert_eq!(log.iter().filter(reads).count(), 0, "{}", lines(&log));
        if upload == "rbake" {
            let is_pushed = log
                .iter()
                .any(|request| !request.is_from_rbake() && request.is_write());
            assert!(!is_pushed, "{}", lines(&log));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_of_several_targets_keeps_the_layers_of_steps_that_did_not_run() {
    let place = Place::new().await;
    let write = |label: &str| {
        let text = |name: &str| {
            format!(
                "target \"{name}\" {{\n  dockerfile-inline = {:?}\n  cache-from = \
                 [\"type=local,src=cache\"]\n  cache-to = [\"type=local,dest=cache,mode=max\"]\n}}\n",
                format!("{LAYERS}LABEL for={name}-{label}\n")
            )
        };
        let more = text("a") + &text("b");
        std::fs::write(place.project.path().join("more.hcl"), more).unwrap();
    };
    let layers = || {
        let cache = place.project.path().join("cache");
        let read = |path: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(cache.join(path)).unwrap()).unwrap()
        };
        let index = read("index.json");
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let manifest = read(&format!("blobs/{}", digest.replace(':', "/")));
        let layers = manifest["layers"].as_array().unwrap().iter();
        let mut layers: Vec<_> = layers.map(|layer| layer["digest"].to_string()).collect();
        layers.sort();
        layers
    };
    let mut first = None;
    for (number, label) in (1..).zip(["one", "two", "three"]) {
        let empty = Buildkitd::start_with_images().await;
        write(label);
        let release = Release::of(&place.project.commit(label), number);
        let mut command = place.project.command(&release, &WITH_MORE);
        command.env("BUILDKIT_HOST", empty.endpoint().to_string());
        let output = place.project.run(&mut command);
        assert_eq!(output.code, Some(0), "{output}");
        assert_eq!(layers(), *first.get_or_insert_with(layers), "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_layer_that_the_repository_has_lost_is_sent_again() {
    let place = Place::new().await;
    let builder = Buildkitd::start_with_images().await;
    let first = Release::of(&place.project.commit("one"), 1);
    place.write_more(LAYERS);
    place.publish(&first, &builder, &[]);
    let layers = place.layers("team/a", "latest").await;
    for repository in ["team/a", "team/cache"] {
        place.contents().lose_blob(repository, &layers[2]).await;
    }
    place.write_more(&format!("{LAYERS}LABEL changed=1\n"));
    let second = Release::of(&place.project.commit("two"), 2);
    place.publish(&second, &builder, &[]);
    // It is whole again.
    assert_eq!(place.layers("team/a", "latest").await, layers);
    place.contents().assert_whole("team/cache", "main").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builder_pushes_a_base_image_that_it_has_not_downloaded() {
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let empty = Buildkitd::start_with_images().await;
    place.write_more("FROM busybox\nLABEL only=metadata\n");
    place.publish(&release, &empty, &[]);
    assert_eq!(place.layers("team/a", "latest").await.len(), 1);
    let log = place.proxy.log();
    let pushes = |request: &&ProxiedRequest| !request.is_from_rbake() && request.is_write();
    assert!(
        log.iter().any(|request| pushes(&request)),
        "{}",
        lines(&log)
    );
    // The tags are rbake's all the same.
    let sets = log.iter().filter(|request| request.sets("latest"));
    assert!(sets.clone().count() == 1 && sets.clone().all(ProxiedRequest::is_from_rbake));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn layers_of_a_base_image_in_the_same_registry_are_mounted() {
    let place = Place::new().await;
    let base = Buildkitd::start_with_images().await;
    place.write_more(LAYERS);
    let first = Release::of(&place.project.commit("base"), 1);
    let tags = format!("a.tags={}/team/base:1", place.proxy.address());
    place.publish(&first, &base, &["--set", &tags]);
    let layers = place.layers("team/base", "1").await;

    let empty = Buildkitd::start_with_images().await;
    let from = format!("FROM {}/team/base:1\n", place.proxy.address());
    place.write_more(&format!("{from}RUN head -c 700000 /dev/urandom > /three\n"));
    let second = Release::of(&place.project.commit("image"), 2);
    place.proxy.clear().await;
    place.publish(&second, &empty, &[]);
    let log = place.proxy.log();
    let all = place.layers("team/a", "latest").await;
    assert_eq!(all[..3], layers);
    let sent = sent_blobs(&log);
    let is_sent = layers.iter().any(|layer| sent.contains(layer));
    assert!(!is_sent, "{}", lines(&log));
    assert_eq!(sent.iter().filter(|blob| **blob == all[3]).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_changed_image_sends_only_what_changed() {
    let place = Place::new().await;
    let builder = Buildkitd::start_with_images().await;
    let first = Release::of(&place.project.commit("one"), 1);
    place.write_more(LAYERS);
    place.publish(&first, &builder, &[]);
    let before = place.layers("team/a", "latest").await;

    place.write_more(&format!(
        "{LAYERS}RUN head -c 700000 /dev/urandom > /three\n"
    ));
    let second = Release::of(&place.project.commit("two"), 2);
    place.proxy.clear().await;
    place.publish(&second, &builder, &[]);
    let after = place.layers("team/a", "latest").await;
    assert_eq!(after[..3], before);
    let log = place.proxy.log();
    let about = |layer: &str| {
        let of_layer = log.iter().filter(|request| request.path.contains(layer));
        of_layer.count()
    };
    for layer in &before {
        assert_eq!(about(layer), 0, "{layer}\n{}", lines(&log));
    }
    assert_eq!(
        sent_blobs(&log)
            .iter()
            .filter(|sent| **sent == after[3])
            .count(),
        1,
        "{}",
        lines(&log)
    );
}
