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
    let (mut name, mut is_file) = (None, false);
    while !parameters.trim().is_empty() {
        let (parameter, value, rest) = parameter(parameters)?;
        let parameter = parameter.to_ascii_lowercase();
        let is_twice = parameter == "name" && name.replace(value).is_some();
        if is_twice || parameter.starts_with("name*") {
            return None;
        }
        is_file |= parameter == "filename" || parameter.starts_with("filename*");
        parameters = rest;
    }
    // Some look for files elsewhere than for fields, and would find no such field.
    name.filter(|name| !(is_file && matches!(*name, "model" | "stream")))
}

/// Whether nobody takes quotes, escapes or white space out of it. `model[]` is `model` to some.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let is_list_of = |field: &str| name.strip_prefix(field).is_some_and(|rest| rest.starts_with('['));
    name.bytes().all(plain) && !is_list_of("model") && !is_list_of("stream")
}

/// The first of `name=value; …`, its value without quotes, and what follows. `None`: it is none, or some would find another in it: behind an escaped quote (browsers and current clients write `%22`),
/// or by looking for `name=` wherever it stands.
pub(super) fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let (value, rest) = match value.strip_prefix('"') {
        None => {
            let (value, rest) = value.split_once(';').unwrap_or((value, ""));
            (value.trim(), rest)
        }
        Some(quoted) => {
            let (value, rest) = quoted.split_once('"')?;
            let rest = rest.trim_start();
            (value, if rest.is_empty() { rest } else { rest.strip_prefix(';')? })
        }
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    (is_name && !value.contains(['"', '\\']) && !names_something(value)).then_some((name, value, rest))
}

fn names_something(value: &str) -> bool {
    let squeezed: String = value.chars().filter(|char| !char.is_whitespace()).collect();
    squeezed.to_ascii_lowercase().contains("name=")
}
