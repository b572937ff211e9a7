//! Images, speech and moderations, in OpenAI's shapes (<https://platform.openai.com/docs/api-reference>).

use serde_json::{Value, json};

/// What an image costs.
pub(crate) const IMAGE_TOKENS: u64 = 16;
/// A picture of one pixel: PNG, base64.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// The start of an MP3 that says where it comes from.
const SOUND: &[u8] = b"ID3\x04\0\0\0\0\0\0simulated speech: ";
const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// A generated image.
pub(crate) fn image(prompt: u64) -> Value {
    json!({"created": 1_700_000_000, "background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024",
           "data": [{"b64_json": PIXEL}],
           "usage": {"input_tokens": prompt, "input_tokens_details": {"image_tokens": 0, "text_tokens": prompt},
                     "output_tokens": IMAGE_TOKENS, "total_tokens": prompt + IMAGE_TOKENS}})
}

/// Bytes that are no sound, and begin as one.
pub(crate) fn speech(text: &str) -> Vec<u8> {
    [SOUND, text.as_bytes()].concat()
}

/// A judgement of each input: what speaks of violence is flagged.
pub(crate) fn moderation(model: &str, inputs: usize, text: &str) -> Value {
    let flagged = text.contains("violence");
    let hits = |name: &str| flagged && name == "violence";
    let categories: Value = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(hits(name)))).collect();
    let score = |name: &str| if hits(name) { 0.9 } else { 0.01 };
    let scores: Value = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(score(name)))).collect();
    let applied: Value = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(["text"]))).collect();
    let result = json!({"flagged": flagged, "categories": categories, "category_scores": scores,
                        "category_applied_input_types": applied});
    json!({"id": "modr-simulated", "model": model, "results": vec![result; inputs]})
}
