//! The environment of the embedded buildkitd: a fixed list of variables that it needs, and nothing else.
//!
//! buildkitd serves many runs, but the first run starts it. The tokens of that run must not stay in
//! `/proc/PID/environ` for hours, and must not be used for later runs: buildkitd would use `AWS_…` and `AZURE_…`
//! for caches, and `SSH_AUTH_SOCK` for anybody. Credentials come with each build, through its session.
//!
//! A variable that is passed on and changes how buildkitd works also goes into the fingerprint by which a run
//! decides whether to restart the builder. Start at [`Variables::of`].

use std::path::Path;

use super::places::EmbeddedPlaces;
use super::recipe::stamp;
use super::search::SearchPath;
use crate::types::Environment;

/// The proxies through which buildkitd reaches other hosts (Go's `net/http`). buildkitd passes them on to git,
/// which also reads `ALL_PROXY`.
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// Variables of BuildKit and containerd for logging and for settings that have no key in `buildkitd.toml`. Not
/// included: `BUILDKITD_DEBUGADDR`, which opens a port, and `BUILDKIT_AZURE_…`, which name caches and belong to a
/// single run.
const TUNING: [&str; 14] = [
    "BUILDKITD_LOG_LEVEL",
    "BUILDKIT_STEP_LOG_MAX_SIZE",
    "BUILDKIT_STEP_LOG_MAX_SPEED",
    "BUILDKIT_SETUP_CGROUPV2_ROOT",
    "BUILDKIT_NETWORK_BRIDGE_AUTO",
    "BUILDKIT_CNI_INIT_LOCK_PATH",
    "BUILDKIT_SCHEDULER_DEBUG",
    "BUILDKIT_SCHEDULER_DEBUG_STEPS",
    "BUILDKIT_DEBUG_EXEC_OUTPUT",
    "BUILDKIT_DEBUG_FORCE_OVERLAY_DIFF",
    // Whether containerd's library uses these programs to decompress layers.
    "CONTAINERD_DISABLE_PIGZ",
    "CONTAINERD_DISABLE_IGZIP",
    // systemd-nspawn and LXC set this for all processes in a container. containerd's library then does not use
    // AppArmor.
    "container",
    // Changes defaults of Go, such as the accepted TLS versions and signatures.
    "GODEBUG",
];

/// Limits on the memory and the processors that Go's runtime uses.
const GO_RUNTIME: [&str; 3] = ["GOMAXPROCS", "GOMEMLIMIT", "GOGC"];

/// Who the user is. Go programs built without cgo (as most builds of buildkitd and rootlesskit) read these if
/// `/etc/passwd` does not list the user, and rootless buildkitd looks for CNI's configuration in the home. They are
/// the same in all runs of a user, so they are not part of the fingerprint.
const IDENTITY: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// More variables for the supervisor, which must compute the same recipe as the run that starts it: where its files
/// are. The settings folders are passed as `RBAKE_CONFIG_DIR` and `BUILDX_CONFIG`.
const FOR_THE_SUPERVISOR: [&str; 4] = [
    "PATH",
    "XDG_RUNTIME_DIR",
    super::settings::IDLE_VARIABLE,
    "RUST_BACKTRACE",
];

// The places in which Go looks for trusted certificates if `SSL_CERT_FILE` or `SSL_CERT_DIR` is not set
// (crypto/x509, root_linux.go).
const CERTIFICATE_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CERTIFICATE_FOLDERS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// buildkitd's environment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Variables {
    all: Vec<(String, String)>,
    that_count: String,
}

impl std::fmt::Debug for Variables {
    // Prints names only: the address of a proxy may contain a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.all.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Variables {
    /// The variables that are taken from `environment`, and those that rbake sets.
    pub(super) fn of(
        environment: &Environment,
        places: &EmbeddedPlaces,
        search: &SearchPath,
        rootless: bool,
    ) -> Self {
        let settings = settings(environment);
        let lines = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"));
        let that_count = lines.chain([certificate_stamps(&settings)]).collect();

        let mut all = settings;
        all.extend(named(environment, &IDENTITY));
        all.push(("PATH".to_owned(), search.variable()));
        let folder = |path: &Path| path.to_string_lossy().into_owned();
        // The run's temporary folder may be deleted after the run, and /tmp is cleaned now and then; buildkitd
        // outlives both.
        if let Some(path) = places.temporary() {
            all.push(("TMPDIR".to_owned(), folder(&path)));
        }
        if rootless {
            // Without this, runc keeps its state in /run/runc, which only root can write to. The user's own runtime
            // folder is deleted at the end of the last login session.
            all.push(("XDG_RUNTIME_DIR".to_owned(), folder(places.run_dir())));
        }
        Self { all, that_count }
    }

    /// Names and values.
    pub(super) fn all(&self) -> &[(String, String)] {
        &self.all
    }

    /// The part of the fingerprint for the variables: differs if buildkitd would have to be restarted for them to
    /// take effect.
    pub(super) fn that_count(&self) -> &str {
        &self.that_count
    }
}

/// The environment of a supervisor. With it, the supervisor computes the same [`Variables`] as the run that starts
/// it.
pub(super) fn for_the_supervisor(environment: &Environment) -> Vec<(String, String)> {
    let mut all = settings(environment);
    all.extend(named(environment, &IDENTITY));
    all.extend(named(environment, &FOR_THE_SUPERVISOR));
    // The supervisor runs in another directory, so all paths must be absolute.
    let here = environment.current_dir();
    let named_file = environment.non_empty(super::config::VARIABLE);
    let places = [
        ("RBAKE_DATA_DIR", super::places::data_dir(environment)),
        ("RBAKE_CONFIG_DIR", environment.config_dir()),
        ("BUILDX_CONFIG", environment.buildx_config_dir()),
        (super::config::VARIABLE, named_file.map(Into::into)),
    ];
    for (name, place) in places {
        if let Some(place) = place {
            let place = here.join(place).to_string_lossy().into_owned();
            all.push((name.to_owned(), place));
        }
    }
    all
}

/// The variables among `names` that are set. All programs that read them treat an empty value as unset, so those
/// are left out.
fn named(environment: &Environment, names: &[&str]) -> Vec<(String, String)> {
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), environment.non_empty(name)?.to_owned())))
        .collect()
}

fn settings(environment: &Environment) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for names in [&PROXIES[..], &TUNING, &GO_RUNTIME] {
        all.extend(named(environment, names));
    }
    // The certificates that buildkitd trusts (Go's `crypto/x509`). buildkitd runs in another directory, so make the
    // paths absolute.
    let here = environment.current_dir();
    let absolute = |path: &str| here.join(path).to_string_lossy().into_owned();
    if let Some(file) = environment.non_empty("SSL_CERT_FILE") {
        all.push(("SSL_CERT_FILE".to_owned(), absolute(file)));
    }
    if let Some(folders) = environment.non_empty("SSL_CERT_DIR") {
        let folders = folders.split(':').filter(|folder| !folder.is_empty());
        let folders: Vec<String> = folders.map(absolute).collect();
        all.push(("SSL_CERT_DIR".to_owned(), folders.join(":")));
    }
    all
}

/// Stamps of the certificate files. buildkitd reads certificates only once, so it must be restarted if they have
/// changed.
fn certificate_stamps(settings: &[(String, String)]) -> String {
    let value = |wanted: &str| {
        let mut all = settings.iter();
        all.find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let files = match value("SSL_CERT_FILE") {
        Some(file) => vec![file],
        None => CERTIFICATE_FILES.to_vec(),
    };
    let folders = match value("SSL_CERT_DIR") {
        Some(folders) => folders.split(':').collect(),
        None => CERTIFICATE_FOLDERS.to_vec(),
    };
    let stamps = files.into_iter().chain(folders).map(|path| {
        let stamp = stamp(Path::new(path));
        format!("{path} {stamp}\n")
    });
    stamps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let base = [("RBAKE_DATA_DIR", "/d"), ("PATH", ".:/bin")];
        let all = base.iter().chain(variables);
        Environment::new(all.map(|(k, v)| (k.into(), v.into())), "/here".into())
    }

    fn variables(more: &[(&str, &str)]) -> Variables {
        let environment = environment(more);
        let places = EmbeddedPlaces::of(&environment).unwrap();
        let search = SearchPath::new(None, environment.non_empty("PATH"));
        Variables::of(&environment, &places, &search, false)
    }

    fn names(all: &[(String, String)]) -> Vec<&str> {
        all.iter().map(|(name, _)| name.as_str()).collect()
    }

    // Variables as a CI job has them.
    const OF_A_JOB: [(&str, &str); 16] = [
        ("GITHUB_TOKEN", "canary"),
        ("ACTIONS_RUNTIME_TOKEN", "canary"),
        ("AWS_SECRET_ACCESS_KEY", "canary"),
        ("AZURE_CLIENT_SECRET", "canary"),
        ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", "canary"),
        ("DOCKER_AUTH_CONFIG", "canary"),
        ("SSH_AUTH_SOCK", "canary"),
        ("NPM_TOKEN", "canary"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "canary"),
        ("OTEL_TRACES_EXPORTER", "canary"),
        ("TRACEPARENT", "canary"),
        ("NOTIFY_SOCKET", "canary"),
        ("LD_PRELOAD", "canary"),
        ("TMPDIR", "canary"),
        ("SOURCE_DATE_EPOCH", "canary"),
        ("BUILDKITD_DEBUGADDR", "canary"),
    ];

    #[test]
    fn the_builder_gets_no_tokens_or_other_variables_of_the_run() {
        let all = variables(&OF_A_JOB);
        assert!(!all.all().iter().any(|(_, value)| value.contains("canary")));
        assert_eq!(names(all.all()), ["PATH", "TMPDIR"]);
        let supervisor = for_the_supervisor(&environment(&OF_A_JOB));
        assert!(!supervisor.iter().any(|(_, value)| value.contains("canary")));
        assert_eq!(all.that_count(), variables(&[]).that_count());
    }

    #[test]
    fn folders_are_the_builders_own_and_the_path_is_safe() {
        let all = variables(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/me")]);
        let text = format!("{:?}", all.all());
        assert_eq!(
            text,
            r#"[("HOME", "/home/me"), ("PATH", "/bin"), ("TMPDIR", "/d/builder/tmp")]"#
        );
        let environment = environment(&[]);
        let places = EmbeddedPlaces::of(&environment).unwrap();
        let rootless = Variables::of(&environment, &places, &SearchPath::default(), true);
        let expected = ("XDG_RUNTIME_DIR".to_owned(), "/d/builder/run".to_owned());
        assert!(rootless.all().contains(&expected));
    }

    #[test]
    fn proxies_certificates_and_tuning_are_passed_on_and_compared() {
        let plain = variables(&[]);
        for (name, value) in [
            ("HTTP_PROXY", "http://p:1"),
            ("https_proxy", "http://p:1"),
            ("NO_PROXY", "localhost"),
            ("SSL_CERT_FILE", "/c.pem"),
            ("SSL_CERT_DIR", "/c:/d"),
            ("BUILDKIT_STEP_LOG_MAX_SIZE", "-1"),
            ("GOMEMLIMIT", "1GiB"),
        ] {
            let with = variables(&[(name, value)]);
            assert!(with.all().contains(&(name.to_owned(), value.to_owned())));
            assert_ne!(with.that_count(), plain.that_count(), "{name}");
            assert_eq!(variables(&[(name, "")]), plain, "{name}");
        }
        assert_eq!(
            variables(&[("HOME", "/home/me")]).that_count(),
            plain.that_count()
        );
        let shown = format!("{:?}", variables(&[("HTTP_PROXY", "http://u:secret@p")]));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn certificates_are_found_from_the_runs_directory_and_compared_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let of = || {
            let environment = Environment::of([("SSL_CERT_FILE", "ca.pem")], dir.path());
            let places =
                EmbeddedPlaces::of(&Environment::of([("RBAKE_DATA_DIR", "/d")], "/")).unwrap();
            Variables::of(&environment, &places, &SearchPath::default(), false)
        };
        let absent = of();
        let path = file.to_str().unwrap().to_owned();
        assert!(absent.all().contains(&("SSL_CERT_FILE".to_owned(), path)));
        std::fs::write(&file, "one").unwrap();
        let one = of();
        assert_ne!(absent.that_count(), one.that_count());
        std::fs::write(&file, "other").unwrap();
        assert_ne!(of().that_count(), one.that_count());
    }

    #[test]
    fn a_supervisor_computes_the_same_variables_as_the_run() {
        let of_the_run = [
            ("HTTP_PROXY", "http://p"),
            ("SSL_CERT_FILE", "ca.pem"),
            ("SSL_CERT_DIR", "a::/b"),
            ("GODEBUG", "x=1"),
            ("HOME", "/home/me"),
            ("GITHUB_TOKEN", "t"),
        ];
        let passed = for_the_supervisor(&environment(&of_the_run));
        let elsewhere = Environment::new(
            passed.into_iter().map(|(k, v)| (k.into(), v.into())),
            "/d/builder".into(),
        );
        let places = EmbeddedPlaces::of(&elsewhere).unwrap();
        let search = SearchPath::new(None, elsewhere.non_empty("PATH"));
        let there = Variables::of(&elsewhere, &places, &search, false);
        assert_eq!(there, variables(&of_the_run));
    }
}
