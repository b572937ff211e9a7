"""What an application sees of a limit of two requests a minute, with OpenAI's SDK and Anthropic's alone.

Arguments: base URL, key and model.
"""

import sys

import anthropic
import openai

base_url, key, model = sys.argv[1:]
hello = [{"role": "user", "content": "Hello there"}]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
claude = anthropic.Anthropic(base_url=base_url.removesuffix("/v1"), api_key=key, max_retries=0)

answer = client.chat.completions.with_raw_response.create(model=model, messages=hello)
assert answer.headers["x-ratelimit-limit-requests"] == "2", answer.headers
assert answer.headers["x-ratelimit-remaining-requests"] in ("0", "1"), answer.headers
answer = claude.messages.with_raw_response.create(model=model, max_tokens=99, messages=hello)
assert answer.headers["anthropic-ratelimit-requests-limit"] == "2", answer.headers
assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z"), answer.headers

try:
    client.chat.completions.create(model=model, messages=hello)
    raise AssertionError("not refused")
except openai.RateLimitError as error:
    assert error.code == "rate_limit_exceeded", error
    assert 1 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers
    assert "requests_per_minute" in error.message, error.message

try:
    claude.messages.create(model=model, max_tokens=99, messages=hello)
    raise AssertionError("not refused")
except anthropic.RateLimitError as error:
    assert error.body["error"]["type"] == "rate_limit_error", error.body
    assert 1 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers
