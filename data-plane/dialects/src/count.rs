//! Counting a prompt's tokens, for callers of Anthropic's `count_tokens` (<https://docs.claude.com/en/api/messages-count-tokens>) whose provider counts in its
//! own way: Gemini (<https://ai.google.dev/api/tokens>), Vertex AI (`countTokens`) and Bedrock
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>).

use serde::Deserialize;

use crate::{
    Call, Dialect, Outgoing, Refused, Target, anthropic, bedrock, fault::Fault, gemini, json::Object,
    refusal::Refusal,
};

/// Translates a request to count. Errors: it is wrong, or the provider cannot count it.
pub fn translate_count<'a>(body: &[u8], target: &Target<'a>) -> Result<Outgoing<'a>, Refused> {
    let path_and_query = target.path(Call::CountTokens, false)?;
    let encoded = encode(body, target).map_err(|refusal| refusal.by(target.dialect))?;
    Ok(Outgoing {
        method: "POST",
        path_and_query,
        headers: target.headers(false),
        authentication: target.authentication(),
        body: encoded,
    })
}

fn encode(body: &[u8], target: &Target<'_>) -> Result<Vec<u8>, Refusal> {
    let request = anthropic::decode_count(body)?;
    match target.dialect {
        Dialect::Vertex => Ok(gemini::counted(&request)?.to_bytes()),
        // It wants the model's name once more, inside.
        Dialect::Gemini => {
            let inner = gemini::counted(&request)?.with("model", format!("models/{}", target.model));
            Ok(Object::new().with("generateContentRequest", inner).to_bytes())
        }
        Dialect::Bedrock => {
            let converse = Object::new().with("converse", bedrock::counted(&request, target.model)?);
            Ok(Object::new().with("input", converse).to_bytes())
        }
        _ => Err(Refusal::unsupported("messages.count_tokens", "it counts no tokens in this way")),
    }
}

/// Translates what the provider has counted.
pub fn translate_count_answer(body: &[u8]) -> Result<Vec<u8>, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        #[serde(alias = "inputTokens")]
        total_tokens: u64,
    }
    let counted: Counted = serde_json::from_slice(body).map_err(|_| Fault::NotOfDialect)?;
    Ok(Object::new().with("input_tokens", counted.total_tokens).to_bytes())
}
