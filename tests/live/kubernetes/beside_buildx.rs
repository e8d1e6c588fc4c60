//! The same builders as buildx's: their places in the store, and their pods. buildx sends objects in another encoding, which the
//! fake cannot read, and runs programs by another protocol: so the objects and builds are compared in [`super::real`].

use super::{User, fake, nodes};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_of_rbake_is_listed_and_removed_by_buildx() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    let create = [
        "+builder",
        "create",
        "--name",
        "ci",
        "--driver",
        "kubernetes",
        "--driver-opt",
        "replicas=2",
    ];
    user.rbake(&create);
    let listed = user.buildx(&[
        "ls",
        "--format",
        "{{.Name}} {{.DriverEndpoint}} {{.Status}}",
    ]);
    assert!(listed.contains("ci kubernetes"), "{listed}");
    assert!(
        listed.contains("ci0") && listed.contains("inactive"),
        "{listed}"
    );
    user.rbake(&["+builder", "start", "ci"]);
    assert_eq!(fake.cluster().objects.names("pods").len(), 2);
    user.buildx(&["rm", "ci"]);
    assert!(fake.cluster().objects.names("pods").is_empty());
    assert!(fake.cluster().objects.names("deployments").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_of_buildx_is_made_by_rbake() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    user.buildx(&[
        "create",
        "--name",
        "theirs",
        "--driver",
        "kubernetes",
        "--driver-opt",
        "namespace=builds",
    ]);
    assert_eq!(
        nodes(&user.listed("theirs")),
        [("theirs0".to_owned(), "inactive".to_owned())]
    );
    user.bake("theirs");
    assert_eq!(nodes(&user.listed("theirs")).len(), 1);
    assert!(
        fake.cluster()
            .log
            .iter()
            .any(|line| line.contains("/namespaces/builds/pods/"))
    );
    user.rbake(&["+builder", "rm", "theirs"]);
    let left = user.buildx(&["ls"]);
    assert!(!left.contains("theirs"), "{left}");
}
