//! `extends`: services that extend other services, of the same file or another file.
//!
//! The base of a service is first completed with what it extends itself. The result is kept for further services
//! that extend it.

use std::collections::HashMap;

use super::include::{below, parent};
use super::load::{Loader, ModelFile, ModelPlace, reset};
use super::merge;
use super::path::ModelPath;
use super::reader::{Reported, UNREADABLE};
use crate::diag::{Diagnostic, Span};
use crate::yaml::{MergeMark, YamlMapping, YamlNode, YamlValue};

/// The longest allowed chain of services that extend each other. It bounds the recursion.
const MOST_NESTED: usize = 1_000;

/// The services of other files that were extended, with their merge marks (such as `!reset`). The key is the path of
/// the file and the [`ModelPlace::id`] of the project that extends it.
pub(super) type ExtendedBases = HashMap<(String, usize), Services>;

/// The services of one file.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: YamlMapping,
    marks: Vec<MergeMark>,
}

/// The value of `extends`: a service, and the file that contains it if it is another one.
struct Reference {
    service: String,
    span: Span,
    file: Option<(String, Span)>,
}

/// The chain of services that are being completed, as pairs of file and service. Used to find cycles.
type Way = Vec<(String, String)>;

impl Loader<'_, '_> {
    /// Completes all services in `over`.
    pub(super) fn extend(
        &mut self,
        over: &mut YamlMapping,
        marks: &[MergeMark],
        file: &ModelFile,
        place: &ModelPlace,
    ) -> Result<(), Reported> {
        let Some(entry) = over.get_mut("services") else {
            return Ok(());
        };
        let services = match std::mem::replace(&mut entry.value.value, YamlValue::Null) {
            YamlValue::Mapping(services) => services,
            value => {
                let node = YamlNode::new(value, entry.value.span);
                let message = format!("`services` must be a mapping, but is {}", node.kind());
                return Err(self
                    .reader
                    .error("compose::wrong-type", message, node.span, ""));
            }
        };
        let marks = marks.to_vec();
        let mut services = Services { services, marks };
        let names: Vec<String> = services.services.keys().cloned().collect();
        let mut complete = Ok(());
        for name in names {
            let before = self.reader.problems.0.len();
            let completed = self.complete(&name, &mut services, &file.path, place, &mut Way::new());
            let found = self.reader.problems.0.get(before..).unwrap_or_default();
            let missing = |problem: &Diagnostic| problem.code == UNREADABLE;
            if completed.is_err() && !found.is_empty() && found.iter().all(missing) {
                let found = self.reader.problems.0.split_off(before);
                let known = self.reader.incomplete.entry(name).or_default();
                known.extend(found);
            } else {
                complete = complete.and(completed);
            }
        }
        entry.value.value = YamlValue::Mapping(services.services);
        complete
    }

    /// Merges the service called `name` onto the service that it extends.
    fn complete(
        &mut self,
        name: &str,
        within: &mut Services,
        file: &str,
        place: &ModelPlace,
        way: &mut Way,
    ) -> Result<(), Reported> {
        let Some(entry) = within.services.get(name) else {
            return Ok(());
        };
        let service = match &entry.value.value {
            YamlValue::Null => return Ok(()),
            YamlValue::Mapping(service) => service,
            _ => {
                let message = format!(
                    "service `{name}` must be a mapping, but is {}",
                    entry.value.kind()
                );
                let span = entry.value.span;
                return Err(self.reader.error("compose::wrong-type", message, span, ""));
            }
        };
        let Some(extends) = service.get("extends") else {
            return Ok(());
        };
        let reference = self.reference(name, &extends.value.clone())?;
        let base = self.base(name, &reference, within, file, place, way)?;
        let Some(mut base) = base else {
            return Ok(());
        };
        let its: Vec<MergeMark> = within
            .marks
            .iter()
            .filter(
                |mark| matches!(mark.path.as_slice(), [a, b, ..] if a == "services" && b == name),
            )
            .cloned()
            .collect();
        if let YamlValue::Mapping(base) = &mut base.value {
            reset(base, &its, 2);
        }
        let Some(entry) = within.services.get_mut(name) else {
            return Ok(());
        };
        let span = entry.value.span;
        let own = std::mem::replace(&mut entry.value, YamlNode::new(YamlValue::Null, span));
        let services = ModelPath::ROOT.key("services");
        merge::merge(
            &mut base,
            own,
            &services.key(name),
            &mut self.reader.problems,
        );
        if let YamlValue::Mapping(base) = &mut base.value {
            base.shift_remove("extends");
        }
        base.span = span;
        entry.value = base;
        Ok(())
    }

    fn reference(&mut self, name: &str, extends: &YamlNode) -> Result<Reference, Reported> {
        let wrong = |loader: &mut Self, what: &str, node: &YamlNode, wanted: &str| {
            let message = format!(
                "`{what}` of service `{name}` must be {wanted}, but is {}",
                node.kind()
            );
            loader
                .reader
                .error("compose::wrong-type", message, node.span, "")
        };
        match &extends.value {
            YamlValue::String(service) => Ok(Reference {
                service: service.clone(),
                span: extends.span,
                file: None,
            }),
            YamlValue::Mapping(entries) => {
                let Some(service) = entries.get("service") else {
                    let message =
                        format!("`extends` of service `{name}` does not name a `service`");
                    let span = extends.span;
                    return Err(self.reader.error("compose::missing-key", message, span, ""));
                };
                let YamlValue::String(of) = &service.value.value else {
                    return Err(wrong(self, "extends.service", &service.value, "a string"));
                };
                let file = match entries.get("file").map(|entry| &entry.value) {
                    None => None,
                    Some(node) => match &node.value {
                        YamlValue::Null => None,
                        YamlValue::String(file) => Some((file.clone(), node.span)),
                        _ => return Err(wrong(self, "extends.file", node, "a string")),
                    },
                };
                Ok(Reference {
                    service: of.clone(),
                    span: service.value.span,
                    file,
                })
            }
            _ => Err(wrong(
                self,
                "extends",
                extends,
                "the name of a service or a mapping",
            )),
        }
    }

    /// Returns a completed copy of the service that `reference` names. `None` if that service is null.
    fn base(
        &mut self,
        name: &str,
        reference: &Reference,
        within: &mut Services,
        file: &str,
        place: &ModelPlace,
        way: &mut Way,
    ) -> Result<Option<YamlNode>, Reported> {
        let Some((other, span)) = &reference.file else {
            self.enter(way, file, name, reference.span)?;
            return self.base_in(within, reference, file, file, place, way);
        };
        let path = below(&place.dir, other);
        let key = (path.clone(), place.id);
        let mut services = match self.bases.remove(&key) {
            Some(known) => known,
            None => self.other_services(&path, other, *span, place)?,
        };
        let found = match self.enter(way, other, name, reference.span) {
            Ok(()) => self.base_in(&mut services, reference, other, file, place, way),
            Err(reported) => Err(reported),
        };
        self.bases.insert(key, services);
        found
    }

    /// Completes the service of `reference` in `services`, and returns a copy. `shown` is the name of the file in
    /// messages. Removes the last step of `way`, which [`Self::enter`] has added.
    fn base_in(
        &mut self,
        services: &mut Services,
        reference: &Reference,
        shown: &str,
        file: &str,
        place: &ModelPlace,
        way: &mut Way,
    ) -> Result<Option<YamlNode>, Reported> {
        let name = &reference.service;
        if !services.services.contains_key(name) {
            let message = format!("there is no service `{name}` to extend in `{shown}`");
            let names = services.services.keys().map(String::as_str);
            let problem = Diagnostic::error(
                crate::diag::Class::Definition,
                "compose::unknown-service",
                message,
            )
            .at(reference.span, "no such service")
            .did_you_mean("a service", name, names);
            return Err(self.reader.report(problem));
        }
        let completed = self.complete(name, services, file, place, way);
        way.pop();
        completed?;
        let Some(entry) = services.services.get(name) else {
            return Ok(None);
        };
        if entry.value.is_null() {
            return Ok(None);
        }
        self.reader.copy(&entry.value).map(Some)
    }

    /// Adds a service to the chain. Reports an error if it is in the chain already or if the chain is too long.
    fn enter(&mut self, way: &mut Way, file: &str, name: &str, span: Span) -> Result<(), Reported> {
        let step = (file.to_owned(), name.to_owned());
        if way.len() >= MOST_NESTED {
            let message = format!("more than {MOST_NESTED} services extend each other");
            return Err(self.reader.error("compose::limit", message, span, ""));
        }
        if way.contains(&step) {
            let mut names: Vec<&str> = way.iter().map(|(_, name)| name.as_str()).collect();
            names.push(name);
            let message = format!("service `{name}` extends itself: `{}`", names.join("` → `"));
            return Err(self
                .reader
                .error("compose::extends-cycle", message, span, ""));
        }
        way.push(step);
        Ok(())
    }

    /// Reads the services of another file: interpolated and canonical, but not completed.
    fn other_services(
        &mut self,
        path: &str,
        named: &str,
        span: Span,
        place: &ModelPlace,
    ) -> Result<Services, Reported> {
        let source = self.reader.read(path, "the extended file", Some(span))?;
        let mut model = YamlMapping::new();
        let mut marks = Vec::new();
        for document in self.reader.documents(source)?.iter() {
            let over = self.interpolated(document, &place.variables)?;
            reset(&mut model, &document.marks, 0);
            self.lay_over(&mut model, over);
            marks.clone_from(&document.marks);
        }
        self.resolve(&mut model, &parent(named));
        let services = model
            .shift_remove("services")
            .map(|entry| entry.value.value);
        if let Some(YamlValue::Mapping(services)) = services {
            return Ok(Services { services, marks });
        }
        let message = format!("there are no services to extend in `{path}`");
        Err(self
            .reader
            .error("compose::unknown-service", message, span, ""))
    }
}
