//! What the user wants of publishing: `rbake.toml`, the environment and flags.

use std::path::Path;
use std::sync::Arc;

use crate::cli::args::BakeArgs;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap};
use crate::golang::strconv::parse_bool;
use crate::publish::settings::{FILE_NAME, PublishFlags, PublishSettings, SettingsFile};
use crate::publisher::PublishForce;
use crate::run::{GateWishes, PublishWishes};
use crate::types::Environment;
use crate::types::terminal::visible;

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
    let salvages = salvages(args, environment, file.salvages)?;
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

/// Whether the finished steps of a failed build are exported: the flag, or else the variable, or else the file.
fn salvages(
    args: &BakeArgs,
    environment: &Environment,
    file: Option<bool>,
) -> Result<bool, Diagnostic> {
    let given = match (args.salvage, environment.non_empty(SALVAGE_VARIABLE)) {
        (Some(flag), _) => Some(flag),
        (None, Some(text)) => Some(parse_bool(text.trim()).ok_or_else(|| {
            let text = visible(text);
            let message =
                format!("`{SALVAGE_VARIABLE}` is `{text}`, which is neither true nor false");
            Diagnostic::error(Class::Usage, "settings::invalid-value", message)
        })?),
        (None, None) => file,
    };
    Ok(given.unwrap_or(true))
}
