//! What the user reads at the end.

use bailiwick_domain::money::NanoUsd;

use crate::{progress::result, region::Region, upstream::Upstream};

pub(crate) fn print(regions: &[Region], upstream: &Upstream, description: &std::path::Path) {
    result("");
    result(&format!("Provider: {}", upstream.label()));
    for region in regions {
        print_region(region);
    }
    if let Some(region) = regions.last() {
        print_snippets(region);
    }
    result("");
    result(&format!("For programs: {}", description.display()));
}

fn print_region(region: &Region) {
    let (description, metered) = (&region.description, &region.metered);
    let cost = NanoUsd::from_nanos(metered.cost_nanos_usd);
    let cost = if metered.priced { cost.to_string() } else { "unpriced".to_owned() };
    result("");
    result(region.name);
    result(&format!("  base URL    {}", description.base_url));
    result(&format!("  API key     {}", description.api_key));
    result(&format!("  model       {}", description.model));
    result(&format!("  completion  {}", metered.text));
    let (prompt, completion) = (metered.prompt_tokens, metered.completion_tokens);
    result(&format!(
        "  metered     {prompt} prompt + {completion} completion tokens, {cost} (as the region's control plane reports)"
    ));
}

fn print_snippets(region: &Region) {
    let description = &region.description;
    let (url, key, model) = (&description.base_url, &description.api_key, &description.model);
    result("");
    result("Call it with curl:");
    result(&format!(
        "  curl {url}/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\"
    ));
    result(&format!(
        "    -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    ));
    result("");
    result("or with OpenAI's SDK for Python, unmodified:");
    result("  from openai import OpenAI");
    result(&format!("  client = OpenAI(base_url=\"{url}\", api_key=\"{key}\")"));
    result(&format!(
        "  client.chat.completions.create(model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}])"
    ));
}
