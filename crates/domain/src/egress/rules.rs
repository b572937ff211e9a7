//! Rules by what they name.

use std::{collections::HashMap, sync::Arc};

use super::{EgressRule, RuleError};
use crate::law::LegalJurisdiction;

/// Rules. The most specific one of a host holds; of two with one pattern, the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    all: Vec<Arc<EgressRule>>,
    /// By the host that a rule names.
    exact: HashMap<Box<str>, Arc<EgressRule>>,
    /// By the name that stands behind the `*.` of a rule.
    below: HashMap<Box<str>, Arc<EgressRule>>,
}

impl Rules {
    pub(super) fn new(
        home: &LegalJurisdiction,
        rules: impl IntoIterator<Item = EgressRule>,
    ) -> Result<Self, RuleError> {
        let mut made = Self::default();
        for rule in rules {
            rule.check(home)?;
            let rule = Arc::new(rule);
            let (by_name, name) = match rule.pattern.below() {
                Some(name) => (&mut made.below, name),
                None => (&mut made.exact, rule.pattern.as_str()),
            };
            by_name.entry(name.into()).or_insert_with(|| Arc::clone(&rule));
            made.all.push(rule);
        }
        Ok(made)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EgressRule> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// That of a host, whose name is in its canonical form.
    pub(super) fn of(&self, host: &str) -> Option<&Arc<EgressRule>> {
        if let Some(rule) = self.exact.get(host) {
            return Some(rule);
        }
        // An empty label is no name below another.
        let mut rest = Some(host).filter(|host| !host.starts_with('.'))?;
        while let Some((_, behind)) = rest.split_once('.') {
            if let Some(rule) = self.below.get(behind) {
                return Some(rule);
            }
            rest = behind;
        }
        None
    }
}
