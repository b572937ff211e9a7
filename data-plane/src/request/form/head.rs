//! What stands before a form's parts, and in its type: names and their parameters. What can be read in two ways is not read.

/// The name that its one `Content-Disposition` gives a part. `None`: it has none, or one that some would read otherwise; or the part is a form itself.
pub(super) fn name(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let mut name = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':')?;
        // Folded lines are read in two ways.
        if field.bytes().any(|byte| byte.is_ascii_whitespace()) || line.contains(['\r', '\n']) {
            return None;
        }
        if field.eq_ignore_ascii_case("content-type") && is_multipart(value) {
            return None;
        }
        if field.eq_ignore_ascii_case("content-disposition") && name.replace(disposed(value)?).is_some() {
            return None;
        }
    }
    name.filter(|name| is_plain(name))
}

/// Some read the parts of a part as parts of the form.
fn is_multipart(content_type: &str) -> bool {
    content_type.trim_ascii_start().get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
}

fn disposed(value: &str) -> Option<&str> {
    let (kind, mut parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut name = None;
    while !parameters.trim().is_empty() {
        let (parameter, value, rest) = parameter(parameters)?;
        let is_twice = parameter.eq_ignore_ascii_case("name") && name.replace(value).is_some();
        if is_twice || parameter.to_ascii_lowercase().starts_with("name*") {
            return None;
        }
        parameters = rest;
    }
    name
}

/// Whether nobody takes quotes, escapes or white space out of it. `model[]` is `model` to some.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let is_list_of = |field: &str| name.strip_prefix(field).is_some_and(|rest| rest.starts_with('['));
    name.bytes().all(plain) && !is_list_of("model") && !is_list_of("stream")
}

/// The first of `name=value; …`, its value without quotes, and what follows.
pub(super) fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_once(';').unwrap_or((value, ""));
        return Some((name, value.trim(), rest));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, rest) = quoted.split_at_checked(end)?;
    let rest = rest.strip_prefix('"')?.trim_start();
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(';')? };
    Some((name, value, rest))
}
