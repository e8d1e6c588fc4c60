//! `rbake builder install`: installs the programs of the embedded builder on a machine that lacks them.
//!
//! Three methods are tried in this order: programs in `PATH` that are new enough, which need no installation; the
//! official release archive, if its digest is pinned; a build with the Go toolchain. Installed programs are
//! complete and checked before they are used. An interrupted installation can be continued. Start at [`install`].

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

/// The variable for another server with BuildKit's releases, such as a mirror. The digests must be the same.
pub(crate) const BASE_VARIABLE: &str = "RBAKE_BUILDKIT_RELEASES";

/// The oldest BuildKit in `PATH` that is accepted: the first one that supports several exports of one build.
const OLDEST_BUILDKIT: (u64, u64) = (0, 13);
/// The oldest runc in `PATH` that is accepted.
const OLDEST_RUNC: (u64, u64) = (1, 1);
/// The time to wait for another installation to finish.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1800);

/// How programs are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InstallMethod {
    /// They are in `PATH` already.
    Path,
    /// Taken from BuildKit's release archive.
    Release,
    /// Built with the Go toolchain.
    Go,
}

impl InstallMethod {
    /// All methods, in the order in which they are tried.
    pub(crate) const ALL: [Self; 3] = [Self::Path, Self::Release, Self::Go];

    /// The method's name on the command line.
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

/// Options of an installation.
#[derive(Debug, Clone)]
pub(crate) struct InstallOptions {
    /// The versions and digests to install.
    pub(crate) pins: Pins,
    /// The only method to try. `None` means all.
    pub(crate) method: Option<InstallMethod>,
    /// Whether to install again what is installed already.
    pub(crate) force: bool,
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installed {
    /// The pinned version is installed already, and its files are intact.
    Already(InstallRecord),
    /// `PATH` has all programs, so nothing was installed.
    InPath {
        /// The path of buildkitd.
        buildkitd: PathBuf,
        /// buildkitd's version.
        version: String,
        /// The path of runc.
        runc: PathBuf,
    },
    /// The programs were installed now.
    Now {
        /// What was installed.
        record: InstallRecord,
        /// The folder of the programs.
        bin: PathBuf,
        /// The methods that were tried before, and why they failed.
        passed_over: Vec<PassedOver>,
    },
}

/// Nothing was installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The programs do not run on this system.
    #[error(transparent)]
    System(ProgramError),
    /// No folder for the programs can be used.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// Another installation was running for the whole time.
    #[error("another installation is running")]
    Lock(#[from] LockError),
    /// All methods failed; one entry for each.
    #[error("cannot install the programs of the embedded builder")]
    NoMethod(Vec<PassedOver>),
}

/// Why one method failed.
#[derive(Debug, thiserror::Error)]
enum InstallMethodError {
    #[error("there is no `{0}` in PATH")]
    NotInPath(&'static str),
    #[error("`{}` is version {version}, but {}.{} or newer is needed", program.display(), needed.0, needed.1)]
    Version {
        program: PathBuf,
        version: String,
        needed: (u64, u64),
    },
    #[error(
        "the archive of BuildKit {version} for {platform} has no pinned digest, so rbake cannot check it and does not use it"
    )]
    NoPin { version: String, platform: Platform },
    #[error("`{}` reports version {found}, but {expected} was expected", program.display())]
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
    #[error("cannot write to the folder for the programs")]
    Write(#[from] io::Error),
}

impl InstallError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let told = Diagnostic::error(Class::Engine, "builder::install", self.to_string());
        match self {
            Self::NoMethod(methods) => methods
                .iter()
                .fold(told, |told, method| {
                    told.note(format!("{}: {}", method.what, method.reason))
                })
                .help("put `buildkitd` and `runc` into PATH (Debian: `runc`), or install Go, and run this again")
                .help("or use another builder: `rbake builder status` lists them"),
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

/// Installs the programs of the embedded builder, unless they are there already.
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
    let lock = embedded::lock(&places.install_lock(), LOCK_TIMEOUT).await;
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
        // With `--force`, the programs in PATH do not count.
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
    /// Finds a program in `PATH`. One that others can change is an error; it must not even be run to ask for its
    /// version.
    async fn find(&self, name: &'static str) -> Result<Option<PathBuf>, ProgramError> {
        let search = self.search.clone();
        unblock(move || embedded::find(&search, name)).await
    }

    /// The programs in `PATH`, if they are new enough. Installs nothing.
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

    /// Downloads and installs the release archive. An error if no digest is pinned for this platform.
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

    /// Builds and installs the programs with Go.
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

    /// Checks that the new programs run here and have the expected versions, then makes them the current ones.
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

/// The version of `program`, if it is `needed` or newer. A build without version information reports 0.0, which is
/// too old.
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
