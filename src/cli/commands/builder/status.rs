//! `rbake builder status`: which builder a run would use, and why not the others.

use super::block_on;
use crate::builder::{self, Survey};
use crate::cli::docker_config;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::credential::DockerConfig;
use crate::diag::Diagnostics;
use crate::types::causes::in_one_line;
use crate::types::requirements::Requirements;
use crate::types::{Environment, terminal};

pub(super) fn status(
    flag: Option<&str>,
    json: bool,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    // Docker's current context is one of the places where a builder is looked for, so report errors in Docker's
    // configuration.
    if let Some(warning) = docker_config::warning(&DockerConfig::load(environment)) {
        screen.diagnostic(&warning);
    }
    let requirements = Requirements::none();
    let survey = builder::survey(&requirements, flag, environment);
    let survey = match block_on(survey, screen) {
        Ok(survey) => survey,
        Err(exit) => return exit,
    };
    let text = if json {
        format!("{:#}\n", as_json(&survey))
    } else {
        as_text(&survey)
    };
    let written = screen.data(&text);
    screen.diagnostics(&Diagnostics(survey.warnings));
    match &survey.error {
        Some(error) => screen.diagnostics(&error.diagnostic().into()),
        None => written,
    }
}

fn as_text(survey: &Survey) -> String {
    let mut lines = Vec::new();
    if let Some(chosen) = &survey.chosen {
        lines.push(format!("builder  {}", chosen.name));
        lines.push(format!("driver   {}", chosen.driver));
        if let Some(endpoint) = &chosen.endpoint {
            lines.push(format!("address  {endpoint}"));
        }
        if let Some(version) = &chosen.version {
            lines.push(format!("buildkit {version}"));
        }
        lines.push(format!("state    {}", chosen.state));
        lines.push(format!("why      {}", chosen.why));
    } else {
        lines.push("builder  none".to_owned());
    }
    if !survey.others.is_empty() {
        lines.push(String::new());
        lines.push("not chosen".to_owned());
        for other in &survey.others {
            lines.push(format!(
                "  {}: {}",
                other.what.replace('`', ""),
                other.reason
            ));
        }
    }
    // Names of builders and contexts, addresses and reasons come from files and daemons, so they may contain
    // control characters.
    let lines: Vec<_> = lines.iter().map(|line| terminal::visible(line)).collect();
    lines.join("\n") + "\n"
}

fn as_json(survey: &Survey) -> serde_json::Value {
    let chosen = survey.chosen.as_ref().map(|chosen| {
        serde_json::json!({
            "name": chosen.name,
            "driver": chosen.driver.name(),
            "address": chosen.endpoint.as_ref().map(ToString::to_string),
            "buildkit": chosen.version,
            "state": chosen.state,
            "why": chosen.why,
        })
    });
    let others: Vec<_> = survey
        .others
        .iter()
        .map(|other| serde_json::json!({ "what": other.what, "reason": other.reason }))
        .collect();
    serde_json::json!({
        "builder": chosen,
        "notTaken": others,
        "error": survey.error.as_ref().map(|error| in_one_line(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Driver;
    use crate::builder::error::PassedOver;
    use crate::builder::survey::Surveyed;

    fn survey() -> Survey {
        Survey {
            chosen: Some(Surveyed {
                name: "embedded".into(),
                driver: Driver::Embedded,
                endpoint: None,
                version: Some("v0.32.2".into()),
                why: "no builder was named, and no other one is usable".into(),
                state: "not running; a run starts it".into(),
            }),
            error: None,
            warnings: Vec::new(),
            others: vec![PassedOver {
                what: "`BUILDKIT_HOST`".into(),
                reason: "not set".into(),
            }],
        }
    }

    #[test]
    fn the_status_is_printed_as_text_and_as_json() {
        insta::assert_snapshot!(as_text(&survey()), @r"
        builder  embedded
        driver   embedded
        buildkit v0.32.2
        state    not running; a run starts it
        why      no builder was named, and no other one is usable

        not chosen
          BUILDKIT_HOST: not set
        ");
        let json = as_json(&survey());
        assert_eq!(json["builder"]["driver"], "embedded");
        assert_eq!(json["notTaken"][0]["reason"], "not set");
        assert_eq!(json["error"], serde_json::Value::Null);
    }
}
