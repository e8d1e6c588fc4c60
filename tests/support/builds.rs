//! Small builds, for tests of the engine.

use std::sync::Arc;

use rbake::engine::session::{Attachable, SecretSource, Secrets};
use rbake::engine::spec::{Dockerfile, LocalDir, MainContext, SolveSpec};
use rbake::engine::{Engine, SessionBuilder, SessionId, Sessions};

use super::files::MemoryFiles;

/// A build with its sessions open.
pub(crate) struct Build {
    pub spec: SolveSpec,
    pub sessions: Sessions,
}

/// A solve of `dockerfile` with `files` beside it.
pub(crate) async fn build(engine: &Engine, dockerfile: &str, files: &[(&str, &[u8])]) -> Build {
    build_with_secrets(engine, dockerfile, files, &[]).await
}

/// As [`build`], with `secrets` by id.
pub(crate) async fn build_with_secrets(
    engine: &Engine,
    dockerfile: &str,
    files: &[(&str, &[u8])],
    secrets: &[(&str, SecretSource)],
) -> Build {
    let own = secrets
        .iter()
        .map(|(id, source)| ((*id).to_owned(), source.clone()))
        .collect();
    let target = SessionBuilder::new(SessionId::new())
        .secrets(Secrets::new(own))
        .open(engine.connection())
        .await
        .unwrap();
    let files: Arc<dyn Attachable> = Arc::new(MemoryFiles::new(dockerfile, files));
    let directory = SessionBuilder::new(SessionId::new())
        .attach(files)
        .open(engine.connection())
        .await
        .unwrap();
    let dir = LocalDir {
        session: Some(directory.id().clone()),
    };
    let dockerfile = Dockerfile::Local {
        dir: dir.clone(),
        filename: "Dockerfile".to_owned(),
    };
    Build {
        spec: SolveSpec::new("t".parse().unwrap(), dockerfile, MainContext::Local(dir)),
        sessions: Sessions {
            target: Arc::new(target),
            directories: vec![Arc::new(directory)],
        },
    }
}

impl Build {
    /// Closes its sessions.
    pub(crate) async fn close(&self) {
        self.sessions.target.close().await;
        for session in &self.sessions.directories {
            session.close().await;
        }
    }
}
