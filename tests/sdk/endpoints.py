"""OpenAI's and Anthropic's SDKs for Python on every endpoint that they share with a worker: plain, as streams, with tools, images and structured output, with
errors, timeouts and cancellation. `endpoints.mjs` is the same for Node.

Arguments: base URL and key. Models are named by who answers (`openai`, `compatible`, `anthropic`) and how.
"""

import base64
import json
import sys
import typing

import anthropic
import openai
import pydantic

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
claude = anthropic.Anthropic(base_url=base_url.removesuffix("/v1"), api_key=key, max_retries=0)
SAID = "one two three"
PICTURE = base64.b64encode(b"\x89PNG a picture").decode()
SEEN = f"1 image of {len(PICTURE)} characters"
messages = [{"role": "user", "content": SAID}]
parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"], "additionalProperties": False}
function = {"type": "function", "function": {"name": "look_up", "parameters": parameters, "strict": True}}
flat = {"type": "function", "name": "look_up", "parameters": parameters, "strict": True}
tool = {"name": "look_up", "input_schema": parameters}
everyone = ["openai", "compatible", "anthropic"]


class Place(pydantic.BaseModel):
    city: str
    people: int
    kind: typing.Literal["town"]


def raises(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def chat_completions(who):
    create = client.chat.completions.create
    answer = create(model=f"{who}-echo", messages=messages)
    assert answer.choices[0].message.content == SAID and answer.usage.completion_tokens == 3, answer
    assert answer._request_id.startswith("req_"), answer
    chunks = list(create(model=f"{who}-echo", messages=messages, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage.completion_tokens == 3
    answer = create(model=f"{who}-tools", messages=messages, tools=[function])
    [called] = answer.choices[0].message.tool_calls
    assert (answer.choices[0].finish_reason, called.function.name) == ("tool_calls", "look_up"), answer
    assert json.loads(called.function.arguments) == {"query": SAID}
    with client.chat.completions.stream(model=f"{who}-tools", messages=messages, tools=[function]) as stream:
        [called] = stream.get_final_completion().choices[0].message.tool_calls
        assert json.loads(called.function.arguments) == {"query": SAID} and called.id, called
    # The tool's answer goes back with the call that it answers.
    asked = {"id": called.id, "type": "function", "function": {"name": "look_up", "arguments": called.function.arguments}}
    back = [*messages, {"role": "assistant", "tool_calls": [asked]}, {"role": "tool", "tool_call_id": called.id, "content": "found"}]
    assert create(model=f"{who}-plain", messages=back, tools=[function]).choices[0].finish_reason == "stop"
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    shown = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    assert create(model=f"{who}-look", messages=shown).choices[0].message.content == SEEN
    answer = client.chat.completions.parse(model=f"{who}-echo", messages=messages, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city=SAID, people=7, kind="town"), answer


def responses(who):
    create = client.responses.create
    answer = create(model=f"{who}-echo", input=SAID)
    assert answer.output_text == SAID and answer.status == "completed" and answer.usage.output_tokens == 3, answer
    events = list(create(model=f"{who}-echo", input=SAID, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SAID
    assert events[-1].type == "response.completed" and events[-1].response.output_text == SAID
    answer = create(model=f"{who}-tools", input=SAID, tools=[flat])
    [called] = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(called.arguments) == {"query": SAID} and called.name == "look_up", answer
    with client.responses.stream(model=f"{who}-tools", input=SAID, tools=[flat]) as stream:
        [called] = [item for item in stream.get_final_response().output if item.type == "function_call"]
        assert json.loads(called.arguments) == {"query": SAID}
    back = [
        {"role": "user", "content": SAID},
        {"type": "function_call", "call_id": called.call_id, "name": "look_up", "arguments": called.arguments},
        {"type": "function_call_output", "call_id": called.call_id, "output": "found"},
    ]
    assert create(model=f"{who}-plain", input=back, tools=[flat]).output_text
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}", "detail": "auto"}
    shown = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, image]}]
    assert create(model=f"{who}-look", input=shown).output_text == SEEN
    answer = client.responses.parse(model=f"{who}-echo", input=SAID, text_format=Place)
    assert answer.output_parsed == Place(city=SAID, people=7, kind="town"), answer


def message(who):
    create = claude.messages.create
    answer = create(model=f"{who}-echo", max_tokens=99, messages=messages)
    assert answer.content[0].text == SAID and answer.stop_reason == "end_turn", answer
    assert answer.usage.output_tokens == 3 and answer._request_id.startswith("req_"), answer
    with claude.messages.stream(model=f"{who}-echo", max_tokens=99, messages=messages) as stream:
        assert "".join(stream.text_stream) == SAID
        assert stream.get_final_message().usage.output_tokens == 3
    answer = create(model=f"{who}-tools", max_tokens=99, messages=messages, tools=[tool])
    assert (answer.stop_reason, answer.content[0].input) == ("tool_use", {"query": SAID}), answer
    with claude.messages.stream(model=f"{who}-tools", max_tokens=99, messages=messages, tools=[tool]) as stream:
        [called] = stream.get_final_message().content
        assert called.input == {"query": SAID} and called.name == "look_up"
    asked = {"type": "tool_use", "id": called.id, "name": "look_up", "input": called.input}
    found = {"type": "tool_result", "tool_use_id": called.id, "content": "found"}
    back = [*messages, {"role": "assistant", "content": [asked]}, {"role": "user", "content": [found]}]
    assert create(model=f"{who}-plain", max_tokens=99, messages=back, tools=[tool]).stop_reason == "end_turn"
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    shown = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    assert create(model=f"{who}-look", max_tokens=99, messages=shown).content[0].text == SEEN
    answer = claude.messages.parse(model=f"{who}-echo", max_tokens=99, messages=messages, output_format=Place)
    assert answer.parsed_output == Place(city=SAID, people=7, kind="town"), answer


def other_endpoints():
    answer = client.completions.create(model="openai-echo", prompt=SAID)
    assert answer.choices[0].text == SAID and answer.usage.completion_tokens == 3, answer
    chunks = list(client.completions.create(model="openai-echo", prompt=SAID, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == SAID
    vectors = client.embeddings.create(model="openai-echo", input=["one", "two"], encoding_format="float")
    assert [entry.index for entry in vectors.data] == [0, 1] and len(vectors.data[0].embedding) == 8
    image = client.images.generate(model="openai-echo", prompt=SAID)
    assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG") and image.usage.output_tokens == 16, image
    speech = client.audio.speech.create(model="openai-echo", input=SAID, voice="alloy")
    assert speech.content.startswith(b"ID3") and speech.content.endswith(SAID.encode())
    with client.audio.speech.with_streaming_response.create(model="openai-echo", input=SAID, voice="alloy") as streamed:
        assert b"".join(streamed.iter_bytes()) == speech.content
    judged = client.moderations.create(model="openai-echo", input="violence")
    assert judged.results[0].flagged and judged.results[0].categories.violence, judged
    names = [entry.id for entry in client.models.list()]
    assert "openai-echo" in names and client.models.retrieve("openai-echo").id == "openai-echo"
    assert claude.messages.count_tokens(model="anthropic-echo", messages=messages).input_tokens == 3
    for call in [
        lambda: client.embeddings.create(model="anthropic-echo", input="one", encoding_format="float"),
        lambda: client.images.generate(model="anthropic-echo", prompt=SAID),
        lambda: client.audio.speech.create(model="anthropic-echo", input=SAID, voice="alloy"),
        lambda: client.moderations.create(model="anthropic-echo", input=SAID),
        lambda: client.completions.create(model="anthropic-echo", prompt=SAID),
    ]:
        error = raises(openai.BadRequestError, call)
        assert error.code == "unsupported_by_provider" and "Anthropic" in error.message, error
    error = raises(anthropic.BadRequestError, lambda: claude.messages.count_tokens(model="openai-echo", messages=messages))
    assert error.body["error"]["code"] == "unsupported_by_provider", error.body


def transcriptions():
    def spoken(said=SAID.encode()):
        return ("speech.mp3", said, "audio/mpeg")

    create = client.audio.transcriptions.create
    answer = create(model="openai-echo", file=spoken())
    assert answer.text == SAID and answer.usage.output_tokens == 3, answer
    answer = create(model="openai-echo", file=spoken(), response_format="verbose_json", timestamp_granularities=["segment"])
    assert (answer.text, float(answer.duration), answer.segments[0].text) == (SAID, 2.5, SAID), answer
    assert create(model="openai-echo", file=spoken(), response_format="text").strip() == SAID
    events = list(create(model="openai-echo", file=spoken(), stream=True))
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == SAID
    assert events[-1].type == "transcript.text.done" and events[-1].usage.output_tokens == 3, events[-1]
    # More than is held of one.
    words = b"word " * 200_000
    assert create(model="openai-echo", file=spoken(words)).text == words.decode()
    translated = client.audio.translations.create(model="openai-echo", file=spoken())
    assert translated.text == SAID, translated
    error = raises(openai.BadRequestError, lambda: create(model="anthropic-echo", file=spoken()))
    assert error.code == "unsupported_by_provider" and "Anthropic" in error.message, error
    raises(openai.NotFoundError, lambda: create(model="nobody", file=spoken(words)))
    raises(openai.RateLimitError, lambda: create(model="openai-status-429", file=spoken()))
    raises(openai.InternalServerError, lambda: create(model="openai-truncated", file=spoken()))
    error = raises(openai.APIStatusError, lambda: create(model="openai-echo", file=spoken(bytes(27 << 20))))
    assert (error.status_code, error.code) == (413, "request_too_large"), error
    raises(openai.APITimeoutError, lambda: client.with_options(timeout=0.5).audio.transcriptions.create(model="openai-hang", file=spoken()))
    with create(model="openai-slow", file=spoken(), stream=True) as stream:
        assert next(iter(stream)).type == "transcript.text.delta"


def errors(who):
    def chat(way, **more):
        return lambda: list(client.chat.completions.create(model=f"{who}-{way}", messages=messages, **more))

    def asks(way):
        return lambda: claude.messages.create(model=f"{who}-{way}", max_tokens=9, messages=messages)

    raises(openai.RateLimitError, chat("status-429"))
    raises(openai.BadRequestError, chat("status-400"))
    raises(openai.InternalServerError, chat("status-500"))
    raises(openai.InternalServerError, chat("garbage"))
    raises(openai.RateLimitError, lambda: client.responses.create(model=f"{who}-status-429", input=SAID))
    raises(anthropic.RateLimitError, asks("status-429"))
    raises(anthropic.BadRequestError, asks("status-400"))
    raises(anthropic.InternalServerError, asks("garbage"))
    # A stream that is cut is told as an error, and never taken for whole.
    error = raises(openai.APIError, chat("truncated", stream=True))
    assert error.code == "provider_invalid_response", error

    def cut():
        with claude.messages.stream(model=f"{who}-truncated", max_tokens=99, messages=messages) as stream:
            stream.get_final_message()

    raises(anthropic.APIError, cut)


def timeouts_and_cancellation(who):
    hello = {"model": f"{who}-hang", "messages": messages}
    raises(openai.APITimeoutError, lambda: client.with_options(timeout=0.5).chat.completions.create(**hello))
    raises(anthropic.APITimeoutError, lambda: claude.with_options(timeout=0.5).messages.create(max_tokens=9, **hello))
    slow = {"model": f"{who}-slow", "messages": messages}
    with client.chat.completions.create(stream=True, **slow) as stream:
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content)
    with claude.messages.stream(max_tokens=99, **slow) as stream:
        assert next(iter(stream.text_stream))


for who in everyone:
    chat_completions(who)
    responses(who)
    message(who)
    errors(who)
    timeouts_and_cancellation(who)
other_endpoints()
transcriptions()
print("ok")
