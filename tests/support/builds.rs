//! Small builds for tests of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use rbake::engine::session::{Attachable, SecretSource, Secrets};
use rbake::engine::spec::{Dockerfile, LocalName, MainContext, SolveSpec};
use rbake::engine::{Engine, Session, SessionBuilder, SessionId, Sessions};

use super::files::MemoryFiles;

/// The input of a build, and its open sessions.
pub(crate) struct Build {
    pub spec: SolveSpec,
    pub sessions: Sessions,
}

/// A solve of `dockerfile` with `files` as its context.
pub(crate) async fn build(engine: &Engine, dockerfile: &str, files: &[(&str, &[u8])]) -> Build {
    build_with_secrets(engine, dockerfile, files, &[]).await
}

/// Like [`build`], with secrets by id.
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
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    Build {
        spec: SolveSpec::new("t".parse().unwrap(), dockerfile, MainContext::Local),
        sessions: Sessions {
            target: Arc::new(target),
            directories: directories(directory),
        },
    }
}

/// Makes `session` serve both the context and the Dockerfile.
pub(crate) fn directories(session: Session) -> BTreeMap<LocalName, Arc<Session>> {
    let session = Arc::new(session);
    let locals = [LocalName::CONTEXT, LocalName::DOCKERFILE];
    locals.map(|local| (local, Arc::clone(&session))).into()
}

impl Build {
    /// Closes the sessions.
    pub(crate) async fn close(&self) {
        self.sessions.target.close().await;
        for session in self.sessions.directories.values() {
            session.close().await;
        }
    }
}
