//! `rbake builder install`: the programs of the embedded builder, for a machine that has none.
//!
//! Three methods, tried in this order: programs in PATH of a version that will do, which need no installation; the
//! official release archive, if its digest is pinned; a build with the Go toolchain. Whatever comes is complete and
//! checked before it is used, and a broken-off installation is taken up again. Start at [`install`].

mod archive;
mod download;
mod folder;
mod golang;
mod pins;
mod progress;

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::embedded::{
    self, EmbeddedPlaces, LockError, PlacesError, ProgramError, SearchPath, version_of,
};
use super::error::{PassedOver, without_linux};
use super::notice::Notice;
use crate::diag::{Class, Diagnostic};
use crate::event::EventSink;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::{Environment, Platform};
use progress::Progress;

pub(crate) use archive::ArchiveError;
pub(crate) use download::DownloadError;
pub(crate) use folder::{Folder, InstallRecord, NewFolder};
pub(crate) use golang::GoError;
pub(crate) use pins::Pins;

/// The variable that names another place with BuildKit's releases, such as a mirror. Digests are the same.
pub(crate) const BASE_VARIABLE: &str = "RBAKE_BUILDKIT_RELEASES";

/// The oldest BuildKit in PATH that will do: the first that can export several ways at once.
const OLDEST_BUILDKIT: (u64, u64) = (0, 13);
/// The oldest runc in PATH that will do.
const OLDEST_RUNC: (u64, u64) = (1, 1);
/// How long another installation may take.
const LOCK_PATIENCE: Duration = Duration::from_secs(1800);

/// Where programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InstallMethod {
    /// They are in PATH.
    Path,
    /// From BuildKit's release archive.
    Release,
    /// Built with Go.
    Go,
}

impl InstallMethod {
    /// All, in the order they are tried.
    pub(crate) const ALL: [Self; 3] = [Self::Path, Self::Release, Self::Go];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Release => "release",
            Self::Go => "go",
        }
    }
}

impl fmt::Display for InstallMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How to install.
#[derive(Debug, Clone)]
pub(crate) struct InstallOptions {
    /// Versions and digests.
    pub(crate) pins: Pins,
    /// The only method to take, if not all.
    pub(crate) method: Option<InstallMethod>,
    /// Whether to install what is installed already.
    pub(crate) force: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installed {
    /// The pinned version was installed before and is sound.
    Already(InstallRecord),
    /// PATH has what is needed.
    InPath {
        /// buildkitd.
        buildkitd: PathBuf,
        /// Its version.
        version: String,
        /// runc.
        runc: PathBuf,
    },
    /// Installed now.
    Now {
        /// What was.
        record: InstallRecord,
        /// Where the programs are.
        bin: PathBuf,
        /// Why the methods before were not taken.
        passed_over: Vec<PassedOver>,
    },
}

/// Nothing was installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The programs do not run on this system.
    #[error(transparent)]
    System(ProgramError),
    /// There is no place for the programs.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// Another installation was at it all the time.
    #[error("another installation is at it")]
    Lock(#[from] LockError),
    /// No method led to the programs.
    #[error("cannot install the programs of the embedded builder")]
    NoMethod(Vec<PassedOver>),
}

/// One method did not lead to the programs.
#[derive(Debug, thiserror::Error)]
enum InstallMethodError {
    #[error("there is no `{0}` in PATH")]
    NotInPath(&'static str),
    #[error("`{}` is {version}, needed is {}.{} or newer", program.display(), needed.0, needed.1)]
    Version {
        program: PathBuf,
        version: String,
        needed: (u64, u64),
    },
    #[error(
        "the archive of BuildKit {version} for {platform} has no pin, so it cannot be checked and is not used"
    )]
    NoPin { version: String, platform: Platform },
    #[error("`{}` says it is {found}, expected is {expected}", program.display())]
    Wrong {
        program: PathBuf,
        found: String,
        expected: String,
    },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Go(#[from] GoError),
    #[error("cannot write to the folder of programs")]
    Write(#[from] io::Error),
}

impl InstallError {
    /// As it is told to the user.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let told = Diagnostic::error(Class::Engine, "builder::install", self.to_string());
        match self {
            Self::NoMethod(methods) => methods
                .iter()
                .fold(told, |told, method| {
                    told.note(format!("{}: {}", method.what, method.reason))
                })
                .help("put `buildkitd` and `runc` into PATH (Debian: `runc`), or install Go, and run this again")
                .help("or use another builder: `rbake builder status` shows what there is"),
            Self::System(_) => without_linux(told),
            Self::Places(error) => {
                let cause = std::error::Error::source(error);
                let told = cause.into_iter().fold(told, |told, cause| told.note(in_one_line(cause)));
                error.help().into_iter().fold(told, Diagnostic::help)
            }
            Self::Lock(_) => match std::error::Error::source(self) {
                Some(source) => told.note(in_one_line(source)),
                None => told,
            },
        }
    }
}

/// Has the programs of the embedded builder on this machine.
pub(crate) async fn install(
    environment: &Environment,
    options: &InstallOptions,
    events: &EventSink,
) -> Result<Installed, InstallError> {
    embedded::check_system(std::env::consts::OS).map_err(InstallError::System)?;
    let asked = environment.clone();
    let (places, search) = unblock(move || {
        let places = EmbeddedPlaces::of(&asked)?;
        places.create()?;
        let search = SearchPath::new(None, asked.non_empty("PATH"));
        Ok::<_, PlacesError>((places, search))
    })
    .await?;
    let notice = Notice::begin(events, "install-lock", "wait for another installation");
    notice.waits_for("another `rbake builder install` to end");
    let lock = embedded::lock(&places.install_lock(), LOCK_PATIENCE).await;
    notice.end(None);
    let _lock = lock?;
    let folder = Folder::at(places.programs());
    if !options.force
        && let Some(record) = folder.record().await
        && record.version == options.pins.buildkit.version
        && options.method.is_none_or(|method| method == record.method)
        && folder.damaged().await.is_empty()
    {
        return Ok(Installed::Already(record));
    }
    let installer = Installer {
        environment,
        pins: &options.pins,
        folder: &folder,
        search: &search,
        events,
    };
    let mut passed_over = Vec::new();
    for method in InstallMethod::ALL {
        // By force means to install, whatever there is in PATH.
        let is_wanted = match options.method {
            Some(only) => only == method,
            None => !(options.force && method == InstallMethod::Path),
        };
        if !is_wanted {
            continue;
        }
        let outcome = match method {
            InstallMethod::Path => match installer.in_path().await {
                Ok(found) => return Ok(found),
                Err(error) => Err(error),
            },
            InstallMethod::Release => installer.release().await,
            InstallMethod::Go => installer.go().await,
        };
        match outcome {
            Ok(record) => {
                return Ok(Installed::Now {
                    record,
                    bin: folder.bin(),
                    passed_over,
                });
            }
            Err(error) => passed_over.push(PassedOver {
                what: match method {
                    InstallMethod::Path => "programs in PATH".to_owned(),
                    InstallMethod::Release => "the release archive".to_owned(),
                    InstallMethod::Go => "a build with Go".to_owned(),
                },
                reason: in_one_line(&error),
            }),
        }
    }
    Err(InstallError::NoMethod(passed_over))
}

struct Installer<'a> {
    environment: &'a Environment,
    pins: &'a Pins,
    folder: &'a Folder,
    search: &'a SearchPath,
    events: &'a EventSink,
}

impl Installer<'_> {
    // What others can change is an error, and not run to ask it its version.
    async fn find(&self, name: &'static str) -> Result<Option<PathBuf>, ProgramError> {
        let search = self.search.clone();
        unblock(move || embedded::find(&search, name)).await
    }

    async fn in_path(&self) -> Result<Installed, InstallMethodError> {
        let buildkitd = self.find("buildkitd").await?;
        let buildkitd = buildkitd.ok_or(InstallMethodError::NotInPath("buildkitd"))?;
        let version = at_least(&buildkitd, OLDEST_BUILDKIT).await?;
        let runc = self.runc_in_path().await?;
        Ok(Installed::InPath {
            buildkitd,
            version,
            runc,
        })
    }

    async fn runc_in_path(&self) -> Result<PathBuf, InstallMethodError> {
        let runc = match self.find("buildkit-runc").await? {
            Some(runc) => Some(runc),
            None => self.find("runc").await?,
        };
        let runc = runc.ok_or(InstallMethodError::NotInPath("runc"))?;
        at_least(&runc, OLDEST_RUNC).await?;
        Ok(runc)
    }

    async fn release(&self) -> Result<InstallRecord, InstallMethodError> {
        let platform = Platform::local();
        let version = &self.pins.buildkit.version;
        let pinned = self
            .pins
            .archive(&platform)
            .ok_or_else(|| InstallMethodError::NoPin {
                version: version.clone(),
                platform: platform.clone(),
            })?;
        let base = self.environment.non_empty(BASE_VARIABLE);
        let base = base
            .unwrap_or(&self.pins.buildkit.base)
            .trim_end_matches('/');
        let name = self.pins.file_name(&platform);
        let url = format!("{base}/{version}/{name}");

        let new = self.folder.begin().await?;
        let file = self.folder.downloads().join(&name);
        let progress = Progress::begin(self.events, "download", &format!("download {name}"));
        let fetched = download::download(&url, &file, pinned, &progress).await;
        progress.end(fetched.as_ref().err().map(ToString::to_string));
        fetched?;

        let progress = Progress::begin(self.events, "unpack", &format!("unpack {name}"));
        let bin = new.join("bin");
        let unpacked = unblock(move || archive::unpack(&file, &bin)).await;
        progress.end(unpacked.as_ref().err().map(ToString::to_string));
        unpacked?;
        self.accept(new, InstallMethod::Release).await
    }

    async fn go(&self) -> Result<InstallRecord, InstallMethodError> {
        let go = self.find("go").await?.ok_or(GoError::NoGo)?;
        let new = self.folder.begin().await?;
        let build = golang::GoBuild {
            go,
            pins: self.pins,
            work: new.join("work"),
            bin: new.join("bin"),
            runc: self.runc_in_path().await.ok(),
            path: self.search.variable(),
            environment: self.environment,
            events: self.events,
        };
        build.run().await?;
        tokio::fs::remove_dir_all(&build.work).await?;
        self.accept(new, InstallMethod::Go).await
    }

    // Makes sure that the programs run here and are what they should be, then puts them to use.
    async fn accept(
        &self,
        new: NewFolder,
        method: InstallMethod,
    ) -> Result<InstallRecord, InstallMethodError> {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = new.join("bin");
        for name in ["buildkitd", "runc"] {
            let executable = std::fs::Permissions::from_mode(0o755);
            tokio::fs::set_permissions(bin.join(name), executable).await?;
        }
        let version = &self.pins.buildkit.version;
        let program = bin.join("buildkitd");
        let found = version_of(&program).await?;
        if found != *version {
            return Err(InstallMethodError::Wrong {
                program,
                found,
                expected: version.clone(),
            });
        }
        at_least(&bin.join("runc"), OLDEST_RUNC).await?;
        Ok(self.folder.commit(&new, version, method).await?)
    }
}

// The version of `program`, if it is `needed` or newer. A build without a version says 0.0 and is not.
async fn at_least(
    program: &std::path::Path,
    needed: (u64, u64),
) -> Result<String, InstallMethodError> {
    let version = version_of(program).await?;
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= needed {
        Ok(version)
    } else {
        Err(InstallMethodError::Version {
            program: program.to_owned(),
            version,
            needed,
        })
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
