//! Reads a caller's request strictly: every member of every object is taken by name, or named in a refusal. So nothing is dropped without a word.
//!
//! Values are read where they stand: text without escapes and JSON that only passes (schemas, arguments) are borrowed, members keep their order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{limits, refusal::Refusal};

/// Why an unknown field is refused.
const UNKNOWN: &str = "it is not among the fields that can be translated";

/// A value, and its place in the request.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    raw: &'a RawValue,
    place: String,
}

/// The members of an object that were not taken yet.
pub(crate) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    place: String,
}

/// The outermost object of a body. Errors: it is none, or nested deeper than [`limits::DEPTH`].
pub(crate) fn body(bytes: &[u8]) -> Result<Fields<'_>, Refusal> {
    if limits::is_too_deep(bytes) {
        return Err(Refusal::invalid("body", "it is nested too deeply"));
    }
    let raw: &RawValue =
        serde_json::from_slice(bytes).map_err(|_| Refusal::invalid("body", "it is not JSON"))?;
    Value { raw, place: String::new() }.object()
}

impl<'a> Value<'a> {
    pub(crate) fn place(&self) -> &str {
        if self.place.is_empty() { "body" } else { &self.place }
    }

    pub(crate) fn is_text(&self) -> bool {
        self.raw.get().starts_with('"')
    }

    pub(crate) fn is_object(&self) -> bool {
        self.raw.get().starts_with('{')
    }

    pub(crate) fn invalid(&self, rule: &'static str) -> Refusal {
        Refusal::invalid(self.place(), rule)
    }

    pub(crate) fn unsupported(&self, why: &'static str) -> Refusal {
        Refusal::unsupported(self.place(), why)
    }

    pub(crate) fn text(&self) -> Result<Cow<'a, str>, Refusal> {
        let plain = self.raw.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match plain {
            Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
            Some(_) => self.parsed::<String>("it is not text").map(Cow::Owned),
            None => Err(self.invalid("it is not text")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, Refusal> {
        self.parsed("it is not true or false")
    }

    pub(crate) fn number(&self) -> Result<f64, Refusal> {
        self.parsed("it is not a number")
    }

    pub(crate) fn count(&self) -> Result<u64, Refusal> {
        self.parsed("it is not a whole number of 0 or more")
    }

    pub(crate) fn integer(&self) -> Result<i64, Refusal> {
        self.parsed("it is not a whole number")
    }

    /// JSON that passes as it is: an object.
    pub(crate) fn raw_object(&self) -> Result<&'a RawValue, Refusal> {
        if self.is_object() { Ok(self.raw) } else { Err(self.invalid("it is not an object")) }
    }

    pub(crate) fn object(&self) -> Result<Fields<'a>, Refusal> {
        if !self.is_object() {
            return Err(self.invalid("it is not an object"));
        }
        let members: Members<'a> = serde_json::from_str(self.raw.get())
            .map_err(|_| self.invalid("it is not an object, names a field twice, or has too many fields"))?;
        Ok(Fields { members: members.0, place: self.place.clone() })
    }

    /// Errors: it is no list, or has more than `most` entries.
    pub(crate) fn list(&self, most: usize) -> Result<Vec<Value<'a>>, Refusal> {
        let entries: Vec<&'a RawValue> = self.parsed("it is not a list")?;
        if entries.len() > most {
            return Err(self.invalid("it has too many entries"));
        }
        let place = |at: usize| format!("{}[{at}]", self.place);
        Ok(entries.into_iter().enumerate().map(|(at, raw)| Value { raw, place: place(at) }).collect())
    }

    fn parsed<T: Deserialize<'a>>(&self, rule: &'static str) -> Result<T, Refusal> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.invalid(rule))
    }
}

impl<'a> Fields<'a> {
    /// The member's value. `null` is as good as absent: so the dialects have it.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.members.iter().position(|(member, _)| member == name)?;
        let (_, raw) = self.members.swap_remove(at);
        let value = Value { raw, place: self.place_of(name) };
        Some(value).filter(|value| value.raw.get() != "null")
    }

    /// The member as it came, left where it is.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, raw)| *raw)
    }

    pub(crate) fn need(&mut self, name: &str) -> Result<Value<'a>, Refusal> {
        let place = self.place_of(name);
        self.take(name).ok_or_else(|| Refusal::invalid(place, "it is missing"))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        self.take(name).map(|value| value.text()).transpose()
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        self.take(name).map(|value| value.flag()).transpose()
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        self.take(name).map(|value| value.number()).transpose()
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        self.take(name).map(|value| value.count()).transpose()
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        self.take(name).map(|value| value.integer()).transpose()
    }

    /// The word that tells what kind of object it is.
    pub(crate) fn kind(&mut self) -> Result<Cow<'a, str>, Refusal> {
        self.need("type")?.text()
    }

    /// Members whose presence has no effect on the answer.
    pub(crate) fn without_effect(&mut self, names: &[&str]) {
        for name in names {
            let _ = self.take(name);
        }
    }

    /// Members that no provider but the dialect's own can serve.
    pub(crate) fn refuse(&mut self, names: &[(&str, &'static str)]) -> Result<(), Refusal> {
        names.iter().try_for_each(|(name, why)| match self.take(name) {
            Some(value) => Err(value.unsupported(why)),
            None => Ok(()),
        })
    }

    /// Errors: a member is left that nobody took.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        match self.members.iter().find(|(_, raw)| raw.get() != "null") {
            Some((name, _)) => Err(Refusal::unsupported(self.place_of(name), UNKNOWN)),
            None => Ok(()),
        }
    }

    fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadMembers).map(Members)
    }
}

struct ReadMembers;

impl<'de> Visitor<'de> for ReadMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            // Two of one name: this could read one, and the provider the other.
            let twice = members.iter().any(|(known, _)| *known == name);
            if twice || members.len() == limits::MEMBERS {
                return Err(A::Error::custom("twice, or too many"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}
