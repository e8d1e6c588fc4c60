//! What the user wants of publishing: `rbake.toml`, the environment and flags.

use std::path::Path;
use std::sync::Arc;

use super::build_settings::boolean;
use crate::cli::args::BakeArgs;
use crate::cli::screen::Screen;
use crate::diag::{Diagnostics, SourceMap};
use crate::publish::settings::{FILE_NAME, PublishFlags, PublishSettings, SettingsFile};
use crate::publisher::PublishForce;
use crate::run::{GateWishes, PublishWishes};
use crate::types::Environment;

const SALVAGE_VARIABLE: &str = "RBAKE_SALVAGE";

/// Reads `rbake.toml` in `folder`, and shows it to `screen`, so that problems can refer to it.
pub(super) fn read(
    folder: &Path,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<SettingsFile, Diagnostics> {
    let shown = folder.join(FILE_NAME);
    let path = environment.current_dir().join(&shown);
    let mut sources = SourceMap::clone(screen.sources());
    let file = SettingsFile::read(&path, &shown.display().to_string(), &mut sources);
    screen.set_sources(Arc::new(sources));
    file
}

/// Puts the environment and flags over the settings of `file`.
pub(super) fn wishes(
    args: &BakeArgs,
    gates: GateWishes,
    file: SettingsFile,
    environment: &Environment,
) -> Result<PublishWishes, Diagnostics> {
    // The flag, or else the variable, or else the file.
    let salvages = boolean(args.salvage, environment, SALVAGE_VARIABLE)?;
    let salvages = salvages.or(file.salvages).unwrap_or(true);
    let list = |texts: &Vec<String>| (!texts.is_empty()).then(|| texts.clone());
    let flags = PublishFlags {
        immutable: list(&args.immutable_tags),
        mutable: list(&args.mutable_tags),
        mode: args.publish.clone(),
    };
    Ok(PublishWishes {
        settings: PublishSettings::resolve(file, environment, &flags)?,
        force: PublishForce {
            backwards: args.force_backwards == Some(true),
            replace: args.replace == Some(true),
        },
        gates,
        preflight_only: args.preflight_only == Some(true),
        hold: args.hold == Some(true),
        salvages,
    })
}
