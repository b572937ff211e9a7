//! What was said, as callers of every dialect write it.

use crate::{
    chat::Part,
    fields::{Fields, Value},
    limits,
    refusal::Refusal,
};

/// Text, or a list of parts, each with its type. `part` reads one, `cache_point` the mark beside it that what stands up to there may be cached; every other field is refused.
pub(crate) fn content<'a>(
    value: &Value<'a>,
    part: impl Fn(&Value<'a>, &str, &mut Fields<'a>) -> Result<Part<'a>, Refusal>,
    cache_point: impl Fn(&mut Fields<'a>) -> Result<Option<Part<'a>>, Refusal>,
) -> Result<Vec<Part<'a>>, Refusal> {
    if value.is_text() {
        return Ok(vec![Part::Text(value.text()?)]);
    }
    let mut parts = Vec::new();
    for entry in value.list(limits::PARTS)? {
        let mut fields = entry.object()?;
        let kind = fields.kind()?;
        parts.push(part(&entry, &kind, &mut fields)?);
        parts.extend(cache_point(&mut fields)?);
        fields.end()?;
    }
    Ok(parts)
}
