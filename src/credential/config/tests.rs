use super::*;
use crate::types::Secret;

fn config(text: &str) -> DockerConfig {
    DockerConfig::parse(text.as_bytes(), "`config.json`".into())
}

fn basic(username: &str, password: &str) -> CredentialPlace {
    CredentialPlace::Here(Credential::Basic {
        username: username.into(),
        password: Secret::new(password.into()),
    })
}

fn place(config: &DockerConfig, key: &str) -> CredentialPlace {
    config.find(key, &[]).0
}

#[test]
fn entries_are_found_by_host_in_every_spelling() {
    let config = config(
        r#"{"auths":{"https://r.example/v1/":{"auth":"dTpwOnE="},"x.example":{}},"other":[1]}"#,
    );
    assert_eq!(place(&config, "r.example"), basic("u", "p:q"));
    assert_eq!(place(&config, "x.example"), CredentialPlace::Nowhere);
    assert_eq!(place(&config, "y.example"), CredentialPlace::Nowhere);
    assert_eq!(config.problems(), <[String; 0]>::default());
}

#[test]
fn the_case_of_keys_does_not_matter_and_nulls_are_ignored() {
    let config = config(
        r#"{"Auths":{"a":{"AUTH":"dTpw","identitytoken":null},"b":null},"credSstore":null,"credsSTORE":"","proxies":null}"#,
    );
    assert_eq!(place(&config, "a"), basic("u", "p"));
    assert_eq!(place(&config, "b"), CredentialPlace::Nowhere);
    assert_eq!(config.problems(), <[String; 0]>::default());
    let helper = self::config(r#"{"CREDSSTORE":"x"}"#);
    assert!(
        matches!(place(&helper, "a"), CredentialPlace::Helper { program, .. } if program == "docker-credential-x")
    );
}

#[test]
fn tokens_take_precedence_over_passwords() {
    let config = config(
        r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"i"},"b":{"identitytoken":"i","registrytoken":"r"}}}"#,
    );
    let identity = Credential::Identity(Secret::new("i".into()));
    assert_eq!(place(&config, "a"), CredentialPlace::Here(identity.clone()));
    assert_eq!(
        place(&config, "b"),
        CredentialPlace::Here(identity.with_registry_token("r"))
    );
}

#[test]
fn the_helper_of_a_host_takes_precedence_over_the_general_one() {
    let config = config(
        r#"{"credsStore":"pass","credHelpers":{"a":"ecr-login","c":""},"auths":{"b":{"registrytoken":"r"},"c":{"auth":"dTpw"}}}"#,
    );
    let helper = |program: &str, key: &str, token: &str| CredentialPlace::Helper {
        program: program.into(),
        key: key.into(),
        registry_token: token.into(),
    };
    assert_eq!(
        place(&config, "a"),
        helper("docker-credential-ecr-login", "a", "")
    );
    assert_eq!(
        place(&config, "b"),
        helper("docker-credential-pass", "b", "r")
    );
    assert_eq!(place(&config, "c"), basic("u", "p"));
}

#[test]
fn the_entry_with_the_longest_matching_path_is_used() {
    let config = config(
        r#"{"auths":{"h/a":{"auth":"YTpw"},"h/a/b":{"auth":"YjpW"},"https://h/c":{"auth":"Yzpw"},"h/v1/":{"auth":"djpw"}}}"#,
    );
    let user = |repository: &str| match config.find("h", &[vec![repository.to_owned()]]).0 {
        CredentialPlace::Here(credential) => credential.as_pair().0.to_owned(),
        other => panic!("{other:?}"),
    };
    let users = ["a", "a/x", "a/b", "a/b/x", "a/bx", "c/x", "z"].map(user);
    assert_eq!(users, ["a", "a", "b", "b", "a", "c", "v"]);
    let own = self::config(r#"{"auths":{"h":{"auth":"djpw"},"h/a":{"auth":"YTpw"}}}"#);
    assert_eq!(own.find("h", &[]).0, basic("v", "p"));
    assert_eq!(own.find("h", &[vec!["a/x".into()]]).0, basic("a", "p"));
}

#[test]
fn an_empty_or_malformed_entry_does_not_hide_another() {
    let config = config(
        r#"{"auths":{"h":{},"h/v1/":{"auth":"!"},"https://h":{"auth":"dTpw"},"g":{"auth":"!"},"k":{"auth":7}}}"#,
    );
    let (found, origin) = config.find("h", &[]);
    assert_eq!(found, basic("u", "p"));
    let source = "`config.json`".to_owned();
    let key = "https://h".to_owned();
    assert_eq!(
        origin,
        Origin::Entry {
            source: source.clone(),
            key,
            astray: false,
            account: None,
        }
    );
    for key in ["g", "k"] {
        let (source, key) = (source.clone(), key.to_owned());
        let expected = (
            CredentialPlace::Nowhere,
            Origin::Malformed {
                source,
                key: key.clone(),
            },
        );
        assert_eq!(config.find(&key, &[]), expected);
    }
}

#[test]
fn problems_name_the_field_and_never_its_content() {
    let config = config(
        r#"{"auths":{"h":{"auth":"aHVudGVyMg=="},"g":"hunter2","k":{"auth":"dTpw","password":["hunter2"]}},"credHelpers":["hunter2"],"detachKeys":5}"#,
    );
    assert_eq!(
        config.problems(),
        [
            "`auths.g` is a string, not an object",
            "`auths.k.password` is an array, not a string",
            "`credHelpers` is an array, not an object",
            "`detachKeys` is a number, not a string",
            "`auths.h.auth` is not `user:password` in base64",
        ]
    );
    assert_eq!(place(&config, "k"), basic("u", "p"));
    assert!(!format!("{config:?}").contains("hunter2"));
    for text in [
        "{\"auths\":{\"hunter2",
        "\u{feff}{\"hunter2\":1}",
        "[\"hunter2\"]",
    ] {
        let broken = self::config(text);
        assert_eq!(broken.problems().len(), 1, "{text}");
        assert!(
            !broken.problems()[0].contains("hunter2"),
            "{:?}",
            broken.problems()
        );
        let source = "`config.json`".to_owned();
        assert_eq!(broken.find("h", &[]).1, Origin::Unread { source });
    }
    for text in ["", " \n", "null", "{}", "{} hunter2"] {
        assert_eq!(
            self::config(text).problems(),
            <[String; 0]>::default(),
            "{text}"
        );
    }
}

#[test]
fn only_auth_of_the_entries_in_the_variable_is_used() {
    let config = DockerConfig::parse_variable(
        r#"{"auths":{"h":{"auth":"dTpw"},"h/a":{"auth":"YTpw"},"https://g/":{"auth":"dTpw"},"k":{},"l":{"auth":"dTpw","password":"hunter2"}},"credsStore":"x"} 1"#,
    );
    assert_eq!(config.find("h", &[]).0, basic("u", "p"));
    assert_eq!(config.find("h", &[vec!["a/b".into()]]).0, basic("a", "p"));
    assert_eq!(place(&config, "g"), CredentialPlace::Nowhere);
    assert_eq!(place(&config, "l"), basic("u", "p"));
    assert_eq!(
        config.problems(),
        [
            "`auths.l` has keys other than `auth`",
            "it has keys other than `auths`",
            "it contains text after its first value",
            "`auths.k` has no `auth`",
        ]
    );
    let leak = DockerConfig::parse_variable(r#"{"auths":{"h":"dXNlcjpwYXNz"}}"#);
    assert_eq!(leak.problems(), ["`auths.h` is a string, not an object"]);
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let config = DockerConfig::read(dir.path());
    assert_eq!(config.problems().len(), 1);
    assert!(
        config.problems()[0].starts_with("it cannot be read: "),
        "{:?}",
        config.problems()
    );
    assert!(config.is_unread);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    assert!(DockerConfig::read(&link).problems().is_empty());
    assert!(
        DockerConfig::read(&dir.path().join("none"))
            .problems()
            .is_empty()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_settings_the_default_helper_is_used_if_it_is_installed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let environment = Environment::of([("PATH", path), ("DOCKER_CONFIG", path)], "/");
    let program = |name: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    assert_eq!(DockerConfig::load(&environment).store, "");
    program("docker-credential-secretservice");
    assert_eq!(DockerConfig::load(&environment).store, "secretservice");
    program("pass");
    assert_eq!(
        DockerConfig::load(&environment).store,
        "",
        "pass has no helper here"
    );
    program("docker-credential-pass");
    assert_eq!(DockerConfig::load(&environment).store, "pass");
    std::fs::write(dir.path().join("config.json"), r#"{"auths":{"h":{}}}"#).unwrap();
    assert_eq!(DockerConfig::load(&environment).store, "");
}

#[test]
fn proxies_are_arguments_with_the_names_of_buildx() {
    let config = config(
        r#"{"proxies":{"default":{"httpProxy":"http://p","noProxy":"","allProxy":"a"},"tcp://h":{"HTTPSPROXY":"s"}}}"#,
    );
    let names = |host| {
        config
            .proxy_arguments(host)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("unix:///x"), ["HTTP_PROXY"]);
    assert_eq!(names("tcp://h"), ["HTTPS_PROXY"]);
}

#[test]
fn an_entry_for_another_repository_is_used_as_in_docker_and_reported() {
    let config = config(r#"{"auths":{"h/proj-b":{"auth":"Yjpw"},"h/proj-a":{"auth":"YTpw"}}}"#);
    let origin = |repositories: &[Vec<String>]| config.find("h", repositories).1.to_string();
    let elsewhere = [vec!["proj-c/x".to_owned()]];
    assert_eq!(
        origin(&elsewhere),
        "rbake used the credential in the entry `h/proj-a` of `config.json`, but no entry there matches the repository"
    );
    // If the repositories are not known, no entry is reported as astray.
    assert_eq!(
        origin(&[]),
        "rbake used the credential in the entry `h/proj-a` of `config.json`"
    );
    assert_eq!(
        origin(&[vec!["proj-b/x".to_owned()]]),
        "rbake used the credential in the entry `h/proj-b` of `config.json`"
    );
}

#[test]
fn the_first_list_of_repositories_takes_precedence() {
    let config =
        config(r#"{"auths":{"h/proj-a":{"auth":"YTpw"},"h/proj-b/deep":{"auth":"Yjpw"}}}"#);
    let of = |own: &str, read: &str| {
        let lists = [own, read].map(|name| vec![name.to_owned()]);
        config.find("h", &lists).0
    };
    assert_eq!(of("proj-a/x", "proj-b/deep/y"), basic("a", "p"));
    assert_eq!(of("elsewhere/x", "proj-a/y"), basic("a", "p"));
    assert_eq!(of("proj-b/x", "proj-a/y"), basic("a", "p"));
}
