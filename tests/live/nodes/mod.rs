//! Builders with two nodes, one for each processor, beside buildx on the same two daemons.

mod failures;
mod pair;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_case::test_case;

pub(super) use self::pair::Pair;
use super::attestations::described;
use crate::support::bakers::Baker;
use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::RegistryContents;
use crate::support::files::certificates;
use crate::support::home::{Home, rbake};
use crate::support::peers;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn program(baker: Baker) -> String {
    format!("{baker:?}").to_lowercase()
}

/// The platforms of an index, without those of attestations, in its order.
fn platforms(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().unwrap().iter();
    let platforms = entries.map(|entry| {
        let platform = &entry["platform"];
        format!(
            "{}/{}",
            platform["os"].as_str().unwrap(),
            platform["architecture"].as_str().unwrap()
        )
    });
    platforms
        .filter(|platform| platform != "unknown/unknown")
        .collect()
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), content);
            }
        }
    }
    found
}

// The image in the registry, without the record of the commit and without what differs from build to build.
async fn image(pair: &Pair, repository: &str, tag: &str) -> Value {
    let contents = RegistryContents::of(&pair.registry);
    let image = described(&contents, repository, tag).await;
    let text = image.to_string().replace(repository, "repository");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_of_two_nodes_are_those_of_buildx() {
    let annotations = r#"annotations = ["index:a=1", "manifest:c=3", "manifest-descriptor:d=4", "manifest[linux/arm64]:e=5", "manifest-descriptor[linux/arm64]:f=6"]"#;
    let cases = [
        ("plain", "", "rbake"),
        (
            "none",
            "attest = [\"type=provenance,disabled=true\"]",
            "rbake",
        ),
        ("max", "attest = [\"type=provenance,mode=max\"]", "rbake"),
        ("annotated", annotations, "rbake"),
        (
            "old-types",
            "output = [\"type=image,push=true,oci-mediatypes=false\"]\nattest = [\"type=provenance,disabled=true\"]",
            "rbake",
        ),
        ("by-builder", annotations, "buildx"),
    ];
    for creator in Baker::ALL {
        let pair = Pair::created_by(creator).await;
        for (name, attributes, publish) in cases {
            let mut found = Vec::new();
            for baker in Baker::ALL {
                let repository = format!("{name}-{}-{}", program(creator), program(baker));
                let tag = pair.repository(&repository);
                let output = if attributes.contains("output") {
                    ""
                } else {
                    "output = [\"type=registry\"]"
                };
                pair.write(&format!(
                    "target \"default\" {{\n  tags = [\"{tag}:1\", \"{tag}:2\"]\n  platforms = [\"linux/arm64\", \"linux/amd64\"]\n  args = {{ SOURCE_DATE_EPOCH = \"0\" }}\n{output}\n{attributes}\n}}\n"
                ));
                let mut command = pair.command(baker, &["--metadata-file", "m.json"]);
                let ended = command.env("RBAKE_PUBLISH", publish).output().unwrap();
                assert!(
                    ended.status.success(),
                    "{name} {baker:?}: {}",
                    text(&ended.stderr)
                );
                let repository = format!("nodes/{repository}");
                let both = [
                    image(&pair, &repository, "1").await,
                    image(&pair, &repository, "2").await,
                ];
                assert_eq!(both[0], both[1], "{name}");
                let metadata = pair.read("m.json")["default"].clone();
                let digest = RegistryContents::of(&pair.registry)
                    .digest(&repository, "1")
                    .await;
                assert_eq!(
                    metadata["containerimage.digest"]
                        .as_str()
                        .map(str::to_owned),
                    digest
                );
                let keys: Vec<String> = metadata.as_object().unwrap().keys().cloned().collect();
                found.push((both[0].clone(), keys));
            }
            assert_eq!(
                platforms(&found[0].0),
                ["linux/arm64", "linux/amd64"],
                "{name}"
            );
            assert_eq!(found[0], found[1], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_that_has_not_changed_stays_and_immutable_tags_hold() {
    let pair = Pair::created_by(Baker::Rbake).await;
    let tag = pair.repository("stays");
    pair.write(&format!(
        "target \"default\" {{\n  tags = [\"{tag}:v1.0.0\", \"{tag}:latest\"]\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  output = [\"type=registry\"]\n}}\n"
    ));
    let bake = || {
        // Both parts of the target share its slot.
        let mut command = pair.command(Baker::Rbake, &["--jobs=1"]);
        command.env("RBAKE_IMMUTABLE_TAGS", "v*").output().unwrap()
    };
    let contents = RegistryContents::of(&pair.registry);
    assert!(bake().status.success());
    let first = contents.digest("nodes/stays", "v1.0.0").await;
    assert!(first.is_some());
    contents.assert_whole("nodes/stays", "latest").await;
    // The times of the attestations are others.
    let again = bake();
    assert!(again.status.success(), "{}", text(&again.stderr));
    for tag in ["v1.0.0", "latest"] {
        assert_eq!(contents.digest("nodes/stays", tag).await, first, "{tag}");
    }
    // Another content: the immutable tag does not move, whatever becomes of the run.
    pair.home.write("work/file", "other");
    let changed = bake();
    let said = text(&changed.stderr);
    assert_eq!(
        contents.digest("nodes/stays", "v1.0.0").await,
        first,
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn directories_have_a_folder_for_each_platform_and_archives_are_refused() {
    let pair = Pair::created_by(Baker::Buildx).await;
    pair.write("target \"default\" {\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n}\n");
    let mut found = Vec::new();
    for baker in Baker::ALL {
        let dest = format!("out-{}", program(baker));
        pair.bakes(
            baker,
            &["--set", &format!("*.output=type=local,dest={dest}")],
        );
        let mut files = files(&pair.home.path("work").join(dest));
        files.retain(|path, _| !path.to_string_lossy().contains("provenance"));
        found.push(files);
    }
    assert!(
        found[0].contains_key(Path::new("linux_arm64/again")),
        "{:?}",
        found[0].keys()
    );
    assert_eq!(found[0], found[1]);
    for kind in ["oci,dest=a.tar", "tar,dest=a.tar"] {
        let output = format!("*.output=type={kind}");
        let said = pair.refuses(Baker::Rbake, &["--set", &output]);
        assert!(said.contains("error[run::several-nodes]"), "{said}");
        let said = pair.refuses(Baker::Buildx, &["--set", &output]);
        assert!(
            said.contains("multi-node builds currently not supported"),
            "{said}"
        );
    }
    assert!(!pair.home.path("work/a.tar").exists());
    // One platform is built by one node, which makes any output.
    pair.bakes(
        Baker::Rbake,
        &[
            "--set",
            "*.platform=linux/arm64",
            "--set",
            "*.output=type=oci,dest=a.tar",
        ],
    );
    assert!(pair.home.path("work/a.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn linked_targets_are_built_on_the_nodes_of_both() {
    let pair = Pair::created_by(Baker::Rbake).await;
    let definition = |tag: &str, of_parent: &str| {
        format!(
            "target \"parent\" {{\n  platforms = [{of_parent}]\n}}\ntarget \"default\" {{\n  contexts = {{ base = \"target:parent\" }}\n  dockerfile-inline = \"FROM base\\nCOPY file /child\"\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  args = {{ SOURCE_DATE_EPOCH = \"0\" }}\n  tags = [\"{tag}:1\"]\n  output = [\"type=registry\"]\n}}\n"
        )
    };
    let mut found = Vec::new();
    for baker in Baker::ALL {
        let repository = format!("linked-{}", program(baker));
        pair.write(&definition(
            &pair.repository(&repository),
            "\"linux/amd64\", \"linux/arm64\"",
        ));
        pair.bakes(baker, &[]);
        found.push(image(&pair, &format!("nodes/{repository}"), "1").await);
    }
    assert_eq!(found[0], found[1]);
    pair.write(&definition(
        &pair.repository("linked-no"),
        "\"linux/amd64\"",
    ));
    let said = pair.refuses(Baker::Rbake, &[]);
    assert!(
        said.contains("error[run::linked-nodes]") && said.contains("`pair1`"),
        "{said}"
    );
    let said = pair.refuses(Baker::Buildx, &[]);
    assert!(
        said.contains("because targets build with different drivers"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cache_of_targets_on_two_nodes_holds_the_steps_of_both() {
    let pair = Pair::created_by(Baker::Rbake).await;
    let cache = pair.repository("cache");
    let target = |name: &str, platform: &str| {
        format!(
            "target \"{name}\" {{\n  dockerfile-inline = \"FROM --platform=linux/amd64 busybox AS run\\nRUN echo {name} > /made\\nFROM scratch\\nCOPY --from=run /made /\"\n  platforms = [\"{platform}\"]\n  cache-from = [\"type=registry,ref={cache}:c\"]\n  cache-to = [\"type=registry,ref={cache}:c,mode=max\"]\n  output = [\"type=cacheonly\"]\n}}\n"
        )
    };
    pair.write(&format!(
        "group \"default\" {{\n  targets = [\"one\", \"two\"]\n}}\n{}{}",
        target("one", "linux/amd64"),
        target("two", "linux/arm64")
    ));
    pair.bakes(Baker::Rbake, &[]);
    // Both nodes forget everything.
    for daemon in [&pair.amd64, &pair.arm64] {
        let mut command = pair.home.command(rbake());
        command.env("BUILDKIT_HOST", daemon.endpoint().to_string());
        let output = command
            .args(["+builder", "prune", "--all", "--force"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let said = pair.bakes(Baker::Rbake, &["--progress=plain"]);
    let cached = said.lines().filter(|line| line.contains("CACHED")).count();
    assert!(cached >= 4, "{said}");
    for name in ["one", "two"] {
        let is_cached =
            |line: &str| line.contains("CACHED") && line.contains(&format!("RUN echo {name}"));
        assert!(said.lines().any(is_cached), "{said}");
    }
}

/// What becomes of rare outputs is as with buildx.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn inline_caches_annotations_and_tags_of_digests_reach_the_index() {
    let pair = Pair::created_by(Baker::Rbake).await;
    let contents = RegistryContents::of(&pair.registry);
    for baker in Baker::ALL {
        let path = format!("nodes/rare-{}", program(baker));
        let repository = pair.repository(&format!("rare-{}", program(baker)));
        pair.write(&format!(
            r#"target "default" {{
  platforms   = ["linux/amd64", "linux/arm64"]
  annotations = ["index[linux/arm64]:a=b"]
  cache-to    = ["type=inline"]
  tags        = ["{repository}:1"]
  dockerfile-inline = "FROM --platform=linux/amd64 busybox AS run\nRUN echo made > /made\nFROM scratch\nCOPY --from=run /made /\nCOPY file /"
}}
"#
        ));
        pair.bakes(baker, &["--push"]);
        let index = contents.json(&path, "1").await.unwrap();
        assert_eq!(index["annotations"]["a"], "b", "{baker:?}: {index}");
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        let image = contents.json(&path, digest).await.unwrap();
        let config = image["config"]["digest"].as_str().unwrap();
        let config = contents.json_blob(&path, config).await.unwrap();
        assert!(
            config["moby.buildkit.cache.v0"].is_string(),
            "{baker:?}: {config}"
        );
        let output = "--set=*.output=type=image,push=true,push-by-digest=true";
        pair.bakes(
            baker,
            &[output, &format!("--set=*.tags={repository}:tagged")],
        );
        let tagged = contents.digest(&path, "tagged").await;
        assert!(tagged.is_some(), "{baker:?}");
        pair.bakes(
            baker,
            &["--set=*.output=type=cacheonly", "--metadata-file=m.json"],
        );
        let metadata = pair.read("m.json");
        assert!(
            metadata["default"]["buildx.build.ref"].is_string(),
            "{baker:?}: {metadata}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_call_is_answered_by_one_node() {
    let pair = Pair::created_by(Baker::Rbake).await;
    pair.write("target \"default\" {\n  dockerfile-inline = \"FROM scratch as base\"\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n}\n");
    let count = |baker| {
        let output = pair.bake(baker, &["--call=check"]);
        text(&output.stdout).matches("FromAsCasing").count()
    };
    assert_eq!(count(Baker::Rbake), count(Baker::Buildx));
    assert!(count(Baker::Rbake) > 0);
}

#[test_case("linux/amd64"; "for a platform")]
#[test_case(""; "without platforms")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_return_to_the_node_that_has_built_them(platform: &str) {
    let pair = Pair::created_by(Baker::Rbake).await;
    let (first, second) = (
        pair.amd64.endpoint().to_string(),
        pair.arm64.endpoint().to_string(),
    );
    // A platform can be fixed for one node only; both report it.
    let create = ["--name", "twins", "--driver", "remote"];
    pair.create(Baker::Rbake, &[&create[..], &["--use", &first]].concat());
    pair.create(
        Baker::Rbake,
        &[&create[..], &["--append", &second]].concat(),
    );
    let (platforms, named) = match platform {
        "" => (String::new(), String::new()),
        named => (format!("\"{named}\""), format!(" for {named}")),
    };
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  context = \"{name}\"\n  dockerfile-inline = \"FROM busybox\\nRUN echo {name}\\nCOPY f /\"\n  platforms = [{platforms}]\n  output = [\"type=cacheonly\"]\n}}\n"
        )
    };
    let names = ["a", "b", "c", "d"];
    for name in names {
        pair.home.write(&format!("work/{name}/f"), name);
    }
    let definition: String = names.map(target).concat();
    pair.home.write("work/docker-bake.hcl", &definition);
    let placed = |said: &str| -> BTreeMap<String, String> {
        let lines = said.lines().filter_map(|line| line.split_once("target `"));
        let placed = lines.filter_map(|(_, rest)| {
            let (name, rest) = rest.split_once(&format!("` is built{named} on `"))?;
            Some((name.to_owned(), rest.split_once('`')?.0.to_owned()))
        });
        placed.collect()
    };
    let flags = ["--progress=plain", "--explain-placement"];
    let before = pair.bakes(Baker::Rbake, &[&flags[..], &["a", "b"]].concat());
    let found = placed(&before);
    assert_eq!(found.len(), 2, "{before}");
    assert_ne!(found["a"], found["b"], "{before}");
    // Two new targets do not drive the others away, and the order of the names does not count.
    let after = pair.bakes(Baker::Rbake, &[&flags[..], &["d", "c", "b", "a"]].concat());
    let again = placed(&after);
    assert_eq!(
        (&again["a"], &again["b"]),
        (&found["a"], &found["b"]),
        "{after}"
    );
    assert_ne!(again["c"], again["d"], "{after}");
    assert!(after.contains("it was built there last"), "{after}");
    for name in ["a", "b"] {
        let is_cached =
            |line: &str| line.contains("CACHED") && line.contains(&format!("RUN echo {name}"));
        assert!(after.lines().any(is_cached), "{after}");
    }
    // A record that is damaged is ignored.
    let folder = pair.home.path("home/.local/state/rbake/placement");
    for entry in std::fs::read_dir(&folder).unwrap() {
        std::fs::write(entry.unwrap().path(), "{\"version\":").unwrap();
    }
    let damaged = pair.bakes(Baker::Rbake, &[&flags[..], &["a", "b"]].concat());
    assert!(!damaged.contains("it was built there last"), "{damaged}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn two_nodes_are_reached_with_mutual_tls() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let home = Home::without_programs().variable("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let folder = home.path("certificates");
    std::fs::create_dir(&folder).unwrap();
    certificates(&folder);
    home.write(
        "buildkitd.toml",
        &format!("[registry.\"{registry}\"]\nhttp = true\n"),
    );
    let file = |name: &str| folder.join(name).display().to_string();
    let config = home.path("buildkitd.toml").display().to_string();
    let start = || async {
        let address = format!("tcp://127.0.0.1:{}", free_port());
        let arguments = [
            "--config",
            &config,
            "--addr",
            &address,
            "--tlscacert",
            &file("ca.pem"),
            "--tlscert",
            &file("builder.test.pem"),
            "--tlskey",
            &file("builder.test.key"),
        ];
        (Buildkitd::start(&arguments).await, address)
    };
    let ((amd64, first), (arm64, second)) = (start().await, start().await);
    let pair = Pair {
        home,
        amd64,
        arm64,
        registry,
    };
    let options = [
        format!("cacert={}", file("ca.pem")),
        format!("cert={}", file("client.test.pem")),
        format!("key={}", file("client.test.key")),
        "servername=builder.test".to_owned(),
    ];
    for creator in Baker::ALL {
        let name = format!("tls-{}", program(creator));
        for (address, platform, mode) in [
            (&first, "linux/amd64", "--use"),
            (&second, "linux/arm64", "--append"),
        ] {
            let mut arguments = vec![
                "--name",
                &name,
                mode,
                "--driver",
                "remote",
                "--platform",
                platform,
            ];
            for option in &options {
                arguments.extend(["--driver-opt", option]);
            }
            arguments.push(address);
            pair.create(creator, &arguments);
        }
        let mut found = Vec::new();
        for baker in Baker::ALL {
            let repository = format!("{name}-{}", program(baker));
            pair.write(&format!(
                "target \"default\" {{\n  tags = [\"{}:1\"]\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  args = {{ SOURCE_DATE_EPOCH = \"0\" }}\n  output = [\"type=registry\"]\n}}\n",
                pair.repository(&repository)
            ));
            pair.bakes(baker, &["--builder", &name]);
            found.push(image(&pair, &format!("nodes/{repository}"), "1").await);
        }
        assert_eq!(platforms(&found[0]), ["linux/amd64", "linux/arm64"]);
        assert_eq!(found[0], found[1], "{creator:?}");
    }
}
