//! Compares the images that a Docker Engine has after a bake by rbake with those after a bake by buildx, for both kinds of
//! image store.

use std::path::PathBuf;
use std::process::{Command, Output};

use rbake::types::Digest;

use crate::support::bakers::{Baker, Bakers};
use crate::support::layout::{described, unpack};
use crate::support::peers;
use crate::support::private_registry::{PASSWORD, PrivateRegistry};
use crate::support::project::{CommandOutput, TestProject};

/// An Engine, the programs that query it, and a registry.
pub(super) struct Engine {
    pub(super) host: String,
    docker: PathBuf,
    buildx: PathBuf,
    pub(super) registry: String,
    is_classic: bool,
}

impl Engine {
    fn with(variable: &str) -> Self {
        let host = peers::peer(variable);
        let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
        let facts = Command::new(&docker)
            .args(["-H", &host, "info", "--format", "{{json .DriverStatus}}"])
            .output()
            .unwrap();
        let facts = String::from_utf8_lossy(&facts.stdout).into_owned();
        Self {
            host,
            docker,
            buildx: peers::program("RBAKE_TEST_BUILDX"),
            registry: peers::peer("RBAKE_TEST_REGISTRY_ADDR"),
            is_classic: !facts.contains("io.containerd.snapshotter"),
        }
    }

    // One Engine for each kind of image store.
    pub(super) fn each() -> [Self; 2] {
        let all = [
            Self::with("RBAKE_TEST_DOCKER_HOST"),
            Self::with("RBAKE_TEST_DOCKER_CLASSIC_HOST"),
        ];
        assert!(all[1].is_classic);
        all
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        Command::new(&self.docker)
            .args(["-H", &self.host])
            .args(arguments)
            .output()
            .unwrap()
    }

    // Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(super) fn project(&self, definition: &str) -> TestProject {
        TestProject::new()
            .file("docker-bake.hcl", definition)
            .file(
                "Dockerfile",
                "FROM busybox\nARG WORD=built\nRUN echo $WORD > /word\nCMD [\"cat\", \"/word\"]\n",
            )
            .env("DOCKER_HOST", &self.host)
    }

    pub(super) fn buildx(&self, project: &TestProject, arguments: &[&str]) -> CommandOutput {
        let like = project.command(&[]);
        let variables = like
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let output = Command::new(&self.buildx)
            .arg("bake")
            .args(arguments)
            .current_dir(project.path())
            .env_clear()
            .envs(variables)
            .output()
            .unwrap();
        project.read(&output)
    }

    // The names of images that contain `mark`, each with the image's identity. Images whose name lost its tag are
    // included.
    pub(super) fn images(&self, mark: &str) -> Vec<(String, String)> {
        let listed = self.says(&["images", "--all", "--format", "{{.Repository}}:{{.Tag}}"]);
        let names = listed.lines().filter(|name| name.contains(mark));
        let mut images: Vec<_> = names
            .map(|name| {
                let format = "{{json .RepoTags}} {{json .Config.Cmd}} {{.Os}}/{{.Architecture}}";
                let image = if name.ends_with(":<none>") {
                    String::new()
                } else {
                    self.says(&["image", "inspect", "--format", format, name])
                };
                (name.to_owned(), image)
            })
            .collect();
        images.sort();
        images
    }

    pub(super) fn remove(&self, mark: &str) {
        let listed = self.says(&[
            "images",
            "--all",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.ID}}",
        ]);
        for line in listed.lines().filter(|line| line.contains(mark)) {
            let (name, id) = line.split_once(' ').unwrap();
            let name = if name.ends_with(":<none>") { id } else { name };
            self.says(&["rmi", "--force", name]);
        }
    }

    // All that the Engine has of the image `name`: platforms, attestations and names.
    #[track_caller]
    pub(super) fn saved(&self, name: &str, project: &TestProject) -> serde_json::Value {
        let archive = project.path().join("saved.tar");
        self.says(&["save", "--output", archive.to_str().unwrap(), name]);
        let dir = project.path().join("saved");
        unpack(&archive, &dir);
        let saved = described(&dir);
        std::fs::remove_dir_all(dir).unwrap();
        saved
    }

    // What the image prints when it runs. It must not be pulled from a registry.
    #[track_caller]
    fn runs(&self, name: &str) -> String {
        self.says(&["run", "--rm", "--pull=never", "--network=none", name])
    }
}

pub(super) fn unique(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("rb{what}{}x{count}", std::process::id())
}

#[track_caller]
pub(super) fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

// (the target's attributes, arguments after `bake`)
const WAYS: [(&str, &[&str]); 8] = [
    ("tags = [\"MARK:dev\"]", &[]),
    ("tags = [\"MARK\"]\noutput = [\"type=image\"]", &[]),
    ("output = [\"type=image,name=MARK:named\"]", &[]),
    (
        "tags = [\"MARK/deep:1\", \"docker.io/library/MARK:2\"]",
        &[],
    ),
    ("tags = [\"MARK:dev\"]\noutput = [\"type=docker\"]", &[]),
    ("tags = [\"MARK:dev\"]", &["--load"]),
    ("tags = [\"REGISTRY/MARK\"]", &["--push"]),
    (
        "tags = [\"REGISTRY/MARK:1\", \"REGISTRY/MARK:2\"]\noutput = [\"type=image,push=true\"]",
        &[],
    ),
];

// Builds in every way with buildx and with rbake, then again with other content, and compares what each leaves in the
// Engine.
fn leaves_what_buildx_leaves(engine: &Engine) {
    for (attributes, words) in WAYS {
        let mark = unique("images");
        let filled = attributes
            .replace("MARK", &mark)
            .replace("REGISTRY", &engine.registry);
        let definition = format!("target \"default\" {{\n{filled}\n}}\n");
        let project = engine.project(&definition);
        let again = [words, &["--set=*.args.WORD=again"]].concat();
        let builds = [words, again.as_slice()];
        let expected = builds.map(|words| {
            passes(&engine.buildx(&project, words));
            engine.images(&mark)
        });
        assert!(!expected[0].is_empty(), "{attributes}");
        engine.remove(&mark);
        let found = builds.map(|words| {
            passes(&project.rbake(words));
            engine.images(&mark)
        });
        assert_eq!(found, expected, "{attributes}");
        let (name, _) = &expected[0][0];
        assert_eq!(engine.runs(name), "again", "{attributes}");
        engine.remove(&mark);
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_engine_has_the_images_that_buildx_would_leave_in_it() {
    leaves_what_buildx_leaves(&Engine::with("RBAKE_TEST_DOCKER_HOST"));
}

#[test]
#[ignore = "needs live peers"]
fn an_engine_with_the_classic_store_has_the_images_that_buildx_would_leave_in_it() {
    leaves_what_buildx_leaves(&Engine::with("RBAKE_TEST_DOCKER_CLASSIC_HOST"));
}

#[test]
#[ignore = "needs live peers"]
fn an_image_without_a_name_is_kept_by_its_digest() {
    let engines = Engine::each();
    for engine in engines {
        let project = engine.project("target \"default\" { output = [\"type=image\"] }\n");
        let word = unique("word");
        let set = format!("--set=*.args.WORD={word}");
        passes(&project.rbake(&[&set, "--metadata-file=meta.json"]));
        let metadata = std::fs::read_to_string(project.path().join("meta.json")).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let digest = metadata["default"]["containerimage.digest"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(engine.runs(&digest), word);
        engine.says(&["rmi", "--force", &digest]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn pushed_images_are_in_the_registry_with_the_printed_digest() {
    let engines = Engine::each();
    let crane = peers::program("RBAKE_TEST_CRANE");
    for engine in engines {
        let name = format!("{}/{}:1", engine.registry, unique("pushed"));
        let definition = format!("target \"default\" {{ tags = [\"{name}\"] }}\n");
        let project = engine.project(&definition);
        let output = project.rbake(&["--push", "--metadata-file=meta.json"]);
        passes(&output);
        let digest = Command::new(&crane)
            .args(["digest", "--insecure", &name])
            .output()
            .unwrap();
        let digest = String::from_utf8_lossy(&digest.stdout).trim().to_owned();
        let metadata = std::fs::read_to_string(project.path().join("meta.json")).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(
            metadata["default"]["containerimage.digest"], digest,
            "{output}"
        );
        engine.says(&["rmi", "--force", &name]);
        engine.says(&["pull", "--quiet", &name]);
        assert_eq!(engine.runs(&name), "built");
        engine.says(&["rmi", "--force", &name]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_push_to_a_private_registry_uses_the_users_credentials() {
    let (engines, registry) = (Engine::each(), PrivateRegistry::start());
    for engine in engines {
        let name = format!("{}/{}:1", registry.address, unique("private"));
        let definition = format!("target \"default\" {{ tags = [\"{name}\"] }}\n");
        let project = engine.project(&definition);
        let output = project.rbake(&["--push"]);
        assert_eq!(output.code, Some(1), "{output}");
        let project = project
            .file("config/config.json", registry.docker_config())
            .env("DOCKER_CONFIG", "config");
        let output = project.rbake(&["--push", "--progress=plain"]);
        passes(&output);
        assert!(!output.stderr.contains(PASSWORD), "{output}");
        engine.says(&["rmi", "--force", &name]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn images_of_another_builder_are_loaded_into_either_image_store() {
    let [containerd, classic] = Engine::each();
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    for engine in [&containerd, &classic] {
        let mark = unique("loaded");
        let definition = format!("target \"default\" {{ tags = [\"{mark}\"] }}\n");
        let project = engine.project(&definition).env("BUILDKIT_HOST", &address);
        passes(&project.rbake(&["--load"]));
        let names: Vec<_> = engine
            .images(&mark)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, [format!("{mark}:latest")]);
        assert_eq!(engine.runs(&mark), "built");
        engine.remove(&mark);
    }
    // One Engine builds, and a context names the other.
    let mark = unique("across");
    let id = Digest::sha256(b"other");
    let context = format!(
        r#"{{"Name":"other","Endpoints":{{"docker":{{"Host":"{}"}}}}}}"#,
        classic.host
    );
    let definition = format!(
        "target \"default\" {{\ntags = [\"{mark}:1\"]\noutput = [\"type=docker,context=other\"]\n}}\n"
    );
    let project = containerd
        .project(&definition)
        .file(
            &format!("config/contexts/meta/{}/meta.json", id.hex()),
            context,
        )
        .env("DOCKER_CONFIG", "config");
    passes(&project.rbake(&[]));
    assert_eq!(containerd.images(&mark), []);
    assert_eq!(classic.runs(&format!("{mark}:1")), "built");
    classic.remove(&mark);
    let back = project.env("BUILDX_BUILDER", "other");
    passes(&back.rbake(&[]));
    assert_eq!(classic.images(&mark).len(), 1);
    classic.remove(&mark);
}

#[test]
#[ignore = "needs live peers"]
fn a_push_that_is_refused_fails_the_target() {
    let engines = Engine::each();
    for engine in engines {
        // Nothing listens at this address.
        let definition = "target \"default\" { tags = [\"127.0.0.1:9/x:1\"] }\n";
        let project = engine.project(definition);
        let output = project.rbake(&["--push"]);
        assert_eq!(output.code, Some(1), "{output}");
        assert!(output.stderr.contains("127.0.0.1:9"), "{output}");
        let _ = engine.docker(&["rmi", "--force", "127.0.0.1:9/x:1"]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_push_by_digest_does_not_change_the_list_of_images() {
    let engines = Engine::each();
    for engine in engines {
        let name = format!("{}/{}", engine.registry, unique("bydigest"));
        let definition = format!(
            "target \"default\" {{ output = [\"type=image,name={name},push=true,push-by-digest=true\"] }}\n"
        );
        let project = engine.project(&definition);
        let output = project.rbake(&["--metadata-file=meta.json"]);
        if engine.is_classic {
            assert_eq!(output.code, Some(3), "{output}");
            assert!(output.stderr.contains("run::push-by-docker"), "{output}");
            continue;
        }
        passes(&output);
        assert!(engine.images(&name).is_empty());
        let metadata = std::fs::read_to_string(project.path().join("meta.json")).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let digest = metadata["default"]["containerimage.digest"]
            .as_str()
            .unwrap();
        let pushed = format!("{name}@{digest}");
        assert_eq!(
            engine.says(&["run", "--rm", "--network=none", &pushed]),
            "built"
        );
        engine.says(&["rmi", "--force", &pushed]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_outputs_that_an_image_store_supports_are_the_same_as_for_buildx() {
    let engines = Engine::each();
    for engine in engines {
        for (output, works) in [
            ("[\"type=image\", \"type=local,dest=out\"]", true),
            ("[\"type=tar,dest=out.tar\"]", true),
            ("[\"type=oci,dest=oci.tar\"]", !engine.is_classic),
            ("[\"type=docker,dest=docker.tar\"]", !engine.is_classic),
        ] {
            let mark = unique("outputs");
            let definition =
                format!("target \"default\" {{\ntags = [\"{mark}:1\"]\noutput = {output}\n}}\n");
            let project = engine.project(&definition);
            let judge = engine.buildx(&project, &[]);
            assert_eq!(judge.code == Some(0), works, "{output}: {judge}");
            let own = project.rbake(&[]);
            assert_eq!(own.code == Some(0), works, "{output}: {own}");
            engine.remove(&mark);
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_default_load_can_be_switched_off_if_docker_is_missing() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let builder = format!(
        r#"{{"Name":"r","Driver":"remote","Nodes":[{{"Name":"r0","Endpoint":"{address}","DriverOpts":{{"default-load":"true"}}}}]}}"#
    );
    let project = || {
        TestProject::new()
            .file("docker-bake.hcl", "target \"default\" {}\n")
            .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
            .file("config/buildx/instances/r", &builder)
            .env("DOCKER_CONFIG", "config")
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    };
    let output = project().rbake(&["--builder", "r"]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(output.stderr.contains("loaded into Docker"), "{output}");
    passes(
        &project()
            .env("BUILDX_NO_DEFAULT_LOAD", 1)
            .rbake(&["--builder", "r"]),
    );
    let output = project()
        .env("BUILDX_NO_DEFAULT_LOAD", "maybe")
        .rbake(&["--builder", "r"]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(
        output.stderr.contains("`BUILDX_NO_DEFAULT_LOAD`"),
        "{output}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn errors_about_a_registry_without_tls_name_the_setting_to_change() {
    let engines = Engine::each();
    let buildkit = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    // The same registry under a name for which TLS is required by default.
    let port = engines[0].registry.rsplit(':').next().unwrap();
    let name = format!("0.0.0.0:{port}/{}:1", unique("insecure"));
    let definition = format!("target \"default\" {{ tags = [\"{name}\"] }}\n");
    let project = engines[0]
        .project(&definition)
        .env("BUILDKIT_HOST", &buildkit);
    let output = project.rbake(&["--push"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output
            .stderr
            .contains("type=registry,registry.insecure=true"),
        "{output}"
    );
    passes(&project.rbake(&["--set=*.output=type=registry,registry.insecure=true"]));

    let pull = TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  dockerfile-inline = \"FROM {name}\"\n}}\n"),
        )
        .env("BUILDKIT_HOST", &buildkit)
        .rbake(&[]);
    assert_eq!(pull.code, Some(1), "{pull}");
    assert!(pull.stderr.contains("`http = true` below"), "{pull}");

    let port = port.to_owned();
    let cache = |more: &str| format!("--set=*.cache-to=type=registry,ref=0.0.0.0:{port}/x:c{more}");
    let build = ["--set=*.output=type=cacheonly", &cache("")];
    let output = project.rbake(&build);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("to the entry of `cache-to`"),
        "{output}"
    );
    let build = [
        "--set=*.output=type=cacheonly",
        &cache(",registry.insecure=true"),
    ];
    passes(&project.rbake(&build));

    // The machine's address, as an Engine in a separate network sees it (scripts/own-network.sh).
    for engine in engines {
        let name = format!("10.0.2.2:{port}/{}:1", unique("insecure"));
        let definition = format!("target \"default\" {{ tags = [\"{name}\"] }}\n");
        let project = engine.project(&definition);
        let output = project.rbake(&["--push"]);
        assert_eq!(output.code, Some(1), "{output}");
        let setting = format!("`\"insecure-registries\": [\"10.0.2.2:{port}\"]`");
        assert!(output.stderr.contains(&setting), "{output}");
        if !engine.is_classic {
            let words = "--set=*.output=type=registry,registry.insecure=true";
            assert!(
                output
                    .stderr
                    .contains("type=registry,registry.insecure=true"),
                "{output}"
            );
            passes(&project.rbake(&[words]));
        }
        engine.says(&["rmi", "--force", &name]);
    }
}

const SEVERAL: &str = r#"
target "default" {
  tags      = ["MARK:1"]
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=provenance,mode=max"]
}
"#;

// The platforms of an image that was saved, and how many attestations it has.
fn parts(saved: &serde_json::Value) -> (Vec<String>, usize) {
    let images = saved[0]["images"].as_array().unwrap().iter();
    let (attested, images): (Vec<_>, Vec<_>) =
        images.partition(|image| image["statements"].is_array());
    let platform = |image: &&serde_json::Value| image["platform"]["architecture"].to_string();
    (images.iter().map(platform).collect(), attested.len())
}

#[test]
#[ignore = "needs live peers"]
fn several_platforms_with_attestations_are_loaded_as_by_buildx() {
    let [containerd, classic] = Engine::each();
    let bakers = Bakers::on_the_shared_daemon();
    let mark = unique("several");
    let definition = SEVERAL.replace("MARK", &mark);
    let project = |engine: &Engine| {
        engine
            .project(&definition)
            .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    };
    let name = format!("{mark}:1");
    let loaded = Baker::ALL.map(|baker| {
        let project = project(&containerd);
        passes(&bakers.bake(baker, &project, &["--load"]));
        let saved = containerd.saved(&name, &project);
        containerd.remove(&mark);
        saved
    });
    assert_eq!(loaded[0], loaded[1]);
    let both = vec!["\"amd64\"".to_owned(), "\"arm64\"".to_owned()];
    assert_eq!(parts(&loaded[0]), (both.clone(), 2));
    // The classic store holds one platform, and no attestations.
    for baker in Baker::ALL {
        let refused = bakers.bake(baker, &project(&classic), &["--load"]);
        assert_ne!(refused.code, Some(0), "{refused}");
    }
    assert_eq!(classic.images(&mark), []);

    // The Engine builds the image itself.
    let project = project(&containerd);
    let built = [true, false].map(|ours| {
        let output = if ours {
            project.rbake(&["--load"])
        } else {
            containerd.buildx(&project, &["--load"])
        };
        passes(&output);
        let saved = containerd.saved(&name, &project);
        containerd.remove(&mark);
        saved
    });
    assert_eq!(built[0], built[1]);
    assert_eq!(parts(&built[0]), (both, 2));
}

#[test]
#[ignore = "needs live peers"]
fn an_image_is_loaded_and_pushed_in_one_build() {
    let bakers = Bakers::on_the_shared_daemon();
    let crane = peers::program("RBAKE_TEST_CRANE");
    for engine in Engine::each() {
        let found = Baker::ALL.map(|baker| {
            let mark = unique("both");
            let name = format!("{}/{mark}:1", engine.registry);
            let definition = format!("target \"default\" {{ tags = [\"{name}\"] }}\n");
            let project = engine.project(&definition);
            let output = bakers.bake(
                baker,
                &project,
                &["--load", "--push", "--metadata-file=m.json"],
            );
            passes(&output);
            assert_eq!(engine.runs(&name), "built");
            engine.remove(&mark);
            let config = Command::new(&crane)
                .args(["config", "--insecure", &name])
                .output()
                .unwrap();
            if baker == Baker::Rbake {
                let digest = Command::new(&crane)
                    .args(["digest", "--insecure", &name])
                    .output()
                    .unwrap();
                let digest = String::from_utf8_lossy(&digest.stdout).trim().to_owned();
                let metadata = std::fs::read_to_string(project.path().join("m.json")).unwrap();
                let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
                assert_eq!(
                    metadata["default"]["containerimage.digest"], digest,
                    "{output}"
                );
            }
            String::from_utf8_lossy(&config.stdout).into_owned()
        });
        assert!(found[0].contains("\"rootfs\""), "{found:?}");
        assert_eq!(found[0], found[1]);
    }
}
