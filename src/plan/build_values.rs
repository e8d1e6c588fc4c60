//! Attributes that only a build needs as something other than text.
//!
//! `--print` prints what they say, whatever that is. So what cannot be read does not fail the plan: it is kept as a problem, for
//! [`check_build`](super::check_build) to report.

use std::fmt::Display;

use super::syntax::{HostAddress, parse_host};
use crate::definition::model::{SharedText, Target};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::types::NetworkMode;

/// The values of a target that only matter when it is built.
#[derive(Debug, Clone, Default)]
pub struct BuildValues {
    /// The network of build steps.
    pub network: NetworkMode,
    /// Names for addresses in build steps.
    pub extra_hosts: Vec<NamedHost>,
    /// What of the attributes cannot be read. The values lack it, so a target with such problems must not be built.
    pub problems: Diagnostics,
}

/// A name for addresses in build steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHost {
    /// The name.
    pub host: SharedText,
    /// What it stands for.
    pub addresses: Vec<HostAddress>,
    /// Where it is written.
    pub span: Option<Span>,
}

/// Reads the attributes of `target`, gathering all that are wrong.
pub(super) fn read(target: &Target) -> BuildValues {
    let mut reader = Reader {
        target,
        problems: Diagnostics::default(),
    };
    BuildValues {
        network: reader.network(),
        extra_hosts: reader.extra_hosts(),
        problems: reader.problems,
    }
}

struct Reader<'a> {
    target: &'a Target,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn problem(&self, code: &'static str, span: Option<Span>, message: impl Display) -> Diagnostic {
        let name = &self.target.name;
        let message = format!("target `{}`: {message}", name.value);
        let problem = Diagnostic::error(Class::Definition, code, message);
        match span.or(name.span) {
            Some(span) => problem.at(span, ""),
            None => problem,
        }
    }

    fn network(&mut self) -> NetworkMode {
        let Some(network) = &self.target.network else {
            return NetworkMode::Default;
        };
        NetworkMode::parse(network).unwrap_or_else(|error| {
            let problem = self.problem("plan::network", network.span, error);
            let problem = problem.similar("a network", network, NetworkMode::NAMES);
            self.problems.push(problem);
            NetworkMode::Default
        })
    }

    fn extra_hosts(&mut self) -> Vec<NamedHost> {
        let mut hosts = Vec::new();
        for (host, value) in self.target.extra_hosts.iter() {
            match parse_host(value) {
                Ok(addresses) => hosts.push(NamedHost {
                    host: host.clone(),
                    addresses,
                    span: value.span,
                }),
                Err(error) => {
                    let message = format!("extra host `{host}`: {error}");
                    let problem = self.problem("plan::extra-host", value.span, message);
                    self.problems.push(
                        problem
                            .help("write it as in `10.0.0.1`, `[2001:db8::1]` or `host-gateway`"),
                    );
                }
            }
        }
        hosts
    }
}
