//! JSON that is written: members in the order they were put in, what only passes as it came, absent members left out.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

/// A value to write.
pub(crate) enum Json<'a> {
    Null,
    Flag(bool),
    Count(u64),
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
    Raw(&'a RawValue),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// An object to write.
#[derive(Default)]
pub(crate) struct Object<'a>(Vec<(&'static str, Json<'a>)>);

impl<'a> Object<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An object that tells what kind it is.
    pub(crate) fn of(kind: &'static str) -> Self {
        Self::new().with("type", kind)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Json<'a>>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Into<Json<'a>>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The member only when the list has entries.
    pub(crate) fn unless_empty(self, name: &'static str, list: Vec<Json<'a>>) -> Self {
        if list.is_empty() { self } else { self.with(name, list) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn some(self) -> Option<Self> {
        if self.is_empty() { None } else { Some(self) }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Writing into memory, with text for keys, cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Integer(integer) => serializer.serialize_i64(*integer),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),+ $(,)?) => {
        $(impl<'a> From<$type> for Json<'a> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

from! {
    bool => Flag, u64 => Count, u32 => Count, i64 => Integer, f64 => Number, &'a str => Text, String => Text,
    Cow<'a, str> => Text, &'a RawValue => Raw, Vec<Json<'a>> => List, Object<'a> => Object,
}

/// A list of what can be written.
pub(crate) fn list<'a, T: Into<Json<'a>>>(values: impl IntoIterator<Item = T>) -> Vec<Json<'a>> {
    values.into_iter().map(Into::into).collect()
}
