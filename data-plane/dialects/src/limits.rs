//! What a request may have at most. Bodies are bounded before they come here; these bound what a body can be made of.

/// Messages of a request, and items of an input.
pub const MESSAGES: usize = 10_000;
/// Parts of a message.
pub const PARTS: usize = 10_000;
/// Tools of a request.
pub const TOOLS: usize = 1024;
/// Stop sequences of a request.
pub const STOPS: usize = 64;
/// Members of an object that is read (schemas and arguments are not).
pub const MEMBERS: usize = 128;
/// Objects and lists within each other, also where JSON only passes: as `serde_json` has it.
pub const DEPTH: usize = 128;
/// Bytes of an answer that a stream's translation holds, where the caller's dialect tells later once more what was told.
pub const HELD_BYTES: usize = 8 << 20;
/// Answers to one request, as many as any provider gives.
pub const CHOICES: usize = 128;
/// Tool calls, or other pieces, of an answer.
pub const ANSWER_PIECES: usize = 4096;
/// Bytes of one event of a stream.
pub const EVENT_BYTES: usize = 16 << 20;

/// Whether JSON is nested too deeply. Text that is no JSON may be judged wrongly; its parser says so.
pub(crate) fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
