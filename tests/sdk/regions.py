"""An application of one region, written with OpenAI's SDK and Anthropic's alone.

Arguments: base URL, key and model of its region; base URL and key of another one.
"""

import sys

import anthropic
import openai

base_url, key, model, foreign_url, foreign_key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
hello = [{"role": "user", "content": "Hello there"}]


def raises(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


# Plain.
answer = client.chat.completions.create(model=model, messages=hello)
assert "simulated provider" in answer.choices[0].message.content
assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 12), answer.usage

# Streaming: the caller did not ask for usage, and sees none.
chunks = list(client.chat.completions.create(model=model, messages=hello, stream=True))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
assert text == answer.choices[0].message.content, text
assert all(chunk.usage is None and chunk.choices for chunk in chunks)

# Streaming with usage, asked for.
chunks = list(
    client.chat.completions.create(
        model=model, messages=hello, stream=True, stream_options={"include_usage": True}
    )
)
assert chunks[-1].usage.completion_tokens == 12 and not chunks[-1].choices

# Completions and embeddings.
assert client.completions.create(model=model, prompt="Hello").choices[0].text
vectors = client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
assert len(vectors.data) == 2 and vectors.usage.prompt_tokens == 2

# Models.
names = [entry.id for entry in client.models.list()]
assert model in names, names
assert client.models.retrieve(model).id == model

# Errors become the SDK's own exceptions.
error = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="no-such", messages=hello))
assert error.code == "model_not_found" and error.request_id.startswith("req_"), error
raises(openai.RateLimitError, lambda: client.chat.completions.create(model="status-429", messages=hello))
raises(openai.InternalServerError, lambda: client.chat.completions.create(model="status-500", messages=hello))
raises(openai.BadRequestError, lambda: client.chat.completions.create(model="status-400", messages=hello))
stranger = openai.OpenAI(base_url=base_url, api_key=key[:-1] + ("0" if key[-1] != "0" else "1"), max_retries=0)
raises(openai.AuthenticationError, lambda: stranger.models.list())

# A key of another region: the error says where to go.
lost = openai.OpenAI(base_url=base_url, api_key=foreign_key, max_retries=0)
error = raises(openai.APIStatusError, lambda: lost.chat.completions.create(model=model, messages=hello))
assert error.status_code == 421 and error.code == "wrong_region", error
home = error.response.headers["x-bailiwick-home-endpoint"].rstrip("/") + "/v1"
assert home == foreign_url, (home, foreign_url)
found = openai.OpenAI(base_url=home, api_key=foreign_key, max_retries=0)
assert found.chat.completions.create(model=model, messages=hello).choices

# Anthropic's SDK, whose base URL ends before the version. The same messages to a provider of either dialect.
tool = {"name": "look_up", "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}}}
claude = anthropic.Anthropic(base_url=base_url.removesuffix("/v1"), api_key=key, max_retries=0)
for name in ["claude-echo", "echo"]:
    answer = claude.messages.create(model=name, max_tokens=99, messages=hello)
    assert answer.content[0].text == "Hello there" and answer.stop_reason == "end_turn", answer
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2), answer.usage
    assert answer._request_id.startswith("req_"), answer._request_id
    with claude.messages.stream(model=name, max_tokens=99, messages=hello) as stream:
        assert "".join(stream.text_stream) == "Hello there"
        assert stream.get_final_message().usage.output_tokens == 2
for name in ["claude-tools", "tools"]:
    answer = claude.messages.create(model=name, max_tokens=99, messages=hello, tools=[tool])
    assert answer.stop_reason == "tool_use" and answer.content[0].input == {"query": "Hello there"}, answer
with claude.messages.stream(model="claude-tools", max_tokens=99, messages=hello, tools=[tool]) as stream:
    assert stream.get_final_message().content[0].input == {"query": "Hello there"}
assert claude.messages.count_tokens(model="claude-echo", messages=hello).input_tokens == 2

# OpenAI's SDK, answered by a provider of Anthropic's dialect.
answer = client.chat.completions.create(model="claude-echo", messages=hello)
assert answer.choices[0].message.content == "Hello there" and answer.usage.completion_tokens == 2, answer
chunks = list(client.chat.completions.create(model="claude-echo", messages=hello, stream=True))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"
function = {"type": "function", "function": {"name": "look_up", "parameters": tool["input_schema"]}}
answer = client.chat.completions.create(model="claude-tools", messages=hello, tools=[function])
assert "Hello there" in answer.choices[0].message.tool_calls[0].function.arguments, answer
answer = client.responses.create(model="claude-echo", input="Hello there")
assert answer.output_text == "Hello there" and answer.usage.output_tokens == 2, answer
error = raises(
    openai.BadRequestError,
    lambda: client.chat.completions.create(model="claude-echo", messages=hello, logprobs=True),
)
assert error.code == "unsupported_by_provider" and error.param == "logprobs", error

# Errors become Anthropic's own exceptions.
def asks(model, sdk=claude):
    return lambda: sdk.messages.create(model=model, max_tokens=9, messages=hello)


error = raises(anthropic.NotFoundError, asks("no-such"))
assert error.body["error"]["code"] == "model_not_found" and error.request_id.startswith("req_"), error.body
raises(anthropic.RateLimitError, asks("claude-status-429"))
raises(anthropic.RateLimitError, asks("status-429"))
raises(anthropic.BadRequestError, asks("status-400"))
raises(anthropic.InternalServerError, asks("claude-status-529"))
wrong = anthropic.Anthropic(base_url=claude.base_url, api_key=key[:-1], max_retries=0)
raises(anthropic.AuthenticationError, asks(model, wrong))
lost = anthropic.Anthropic(base_url=claude.base_url, api_key=foreign_key, max_retries=0)
error = raises(anthropic.APIStatusError, asks(model, lost))
assert error.status_code == 421 and error.body["error"]["code"] == "wrong_region", error.body
assert error.response.headers["x-bailiwick-home-endpoint"].rstrip("/") + "/v1" == foreign_url

print("ok")
