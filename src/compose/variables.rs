//! The variables that Compose files can use.

use std::collections::HashMap;
use std::fmt;

use crate::types::Environment;

/// Variables by name. The environment, if there is one, is consulted last.
#[derive(Clone, Default)]
pub(crate) struct ComposeVariables(HashMap<String, String>, Option<Environment>);

impl ComposeVariables {
    /// The value of the variable `name`, if it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let own = self.0.get(name).map(String::as_str);
        // Ask the environment itself, because it records which variables are used. It returns `None` for values
        // that are not text.
        own.or_else(|| self.1.as_ref()?.get(name))
    }

    /// All variables of `environment`.
    pub(crate) fn of_environment(environment: &Environment) -> Self {
        let mut variables: Self = environment.iter().collect();
        variables.1 = Some(environment.clone());
        variables
    }

    /// Sets the variable `name`, replacing an earlier value.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Adds the variables of `others` that are not set here.
    pub(crate) fn set_defaults(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            // A variable of the environment counts as set even if its value is not text.
            let environment = self.1.as_ref();
            let is_set = environment.is_some_and(|own| own.get_os(name).is_some());
            if !is_set && !self.0.contains_key(name) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for ComposeVariables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let pairs = variables.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            None,
        )
    }
}

impl fmt::Debug for ComposeVariables {
    // Does not show values, which are often credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Variables").field(&self.0.len()).finish()
    }
}
