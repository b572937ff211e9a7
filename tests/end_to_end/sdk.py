"""An application of one region, written with OpenAI's SDK alone.

Arguments: base URL, key and model of its region; base URL and key of another one.
"""

import sys

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

print("ok")
