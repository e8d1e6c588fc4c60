//! Looks at the registries of a plan that cannot be built, so that a run that only checks lists everything at once.

use std::time::Duration;

use super::commit::{current_commit, history};
use super::publication::{PublicationRules, images, security};
use super::{PublishWishes, messages};
use crate::credential::Provider;
use crate::definition::model::Export;
use crate::diag::Diagnostics;
use crate::plan::{Plan, PlannedTarget};
use crate::publish::journal::RunOrigin;
use crate::publish::settings::PublishMode;
use crate::publisher::{ImageToPublish, JournalTemplate, Publisher, Record};
use crate::registry::Registries;
use crate::types::{Clock, Environment, ImageName};

/// The most time for the registries. What is wrong on this machine is worth more than what one of them answers later.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Reports the registries to which rbake may not push what `plan` would push. Empty if rbake does not publish, or they do
/// not answer in time.
pub(crate) async fn refusals(
    plan: &Plan,
    wishes: &PublishWishes,
    environment: &Environment,
    credentials: &Provider,
    registries: &Registries,
) -> Diagnostics {
    if wishes.settings.mode != PublishMode::Rbake {
        return Diagnostics::default();
    }
    let commit = current_commit(environment).await;
    let rules = PublicationRules {
        settings: &wishes.settings,
        commit: commit.as_ref(),
        untagged: &wishes.gates.images,
    };
    let targets = plan.targets.values();
    let images: Vec<ImageToPublish> = targets
        .flat_map(|target| of_target(target, rules))
        .collect();
    let record = Record::new(JournalTemplate {
        directory: None,
        revision: None,
        origin: RunOrigin::Build,
        backwards: false,
        clock: Clock::system(),
    });
    let history = history(environment).await;
    let publisher = Publisher::new(registries.clone(), record, None, history, wishes.force);
    let looked = tokio::time::timeout(LOOK_TIMEOUT, publisher.look(&images)).await;
    let standings = looked.unwrap_or_default();
    let looked = images.iter().zip(&standings);
    let looked =
        looked.filter_map(|(image, standing)| Some((image.target.as_ref()?, image, standing)));
    messages::denied(looked, credentials)
}

/// The images that `target` pushes, as far as their names are legal.
fn of_target(target: &PlannedTarget, rules: PublicationRules<'_>) -> Vec<ImageToPublish> {
    let outputs = target.attributes.output.iter().enumerate();
    let pushing = outputs.filter(|(_, output)| output.pushes());
    let of_output = |(place, output): (usize, &crate::diag::Spanned<Export>)| {
        let names = target.build().images.of_output(place).iter();
        let names: Vec<ImageName> = names.map(|name| name.value.clone()).collect();
        let insecure = output.attr("registry.insecure");
        images(&target.name, &names, security(insecure), rules).unwrap_or_default()
    };
    pushing.flat_map(of_output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::planned;

    #[test]
    fn the_images_of_outputs_that_push_are_looked_at() {
        let settings = crate::publish::settings::PublishSettings::default();
        let untagged = std::collections::BTreeSet::new();
        let rules = PublicationRules {
            settings: &settings,
            commit: None,
            untagged: &untagged,
        };
        let repositories = |attributes: &str| -> Vec<String> {
            let images = of_target(&planned(attributes), rules);
            images
                .iter()
                .map(|image| format!("{} {}", image.repository, image.tags.len()))
                .collect()
        };
        assert_eq!(
            repositories(
                r#"tags = ["x.example/a:1", "x.example/a", "y.example/b"]
output = ["type=registry"]"#
            ),
            ["x.example/a 2", "y.example/b 1"]
        );
        assert_eq!(
            repositories(
                r#"output = ["type=image,name=x.example/n,push=true", "type=oci,dest=o,name=x.example/m"]"#
            ),
            ["x.example/n 1"]
        );
        assert_eq!(repositories(r#"tags = ["x.example/a"]"#), [""; 0]);
    }
}
