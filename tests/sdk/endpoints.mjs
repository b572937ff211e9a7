// OpenAI's and Anthropic's SDKs for Node on every endpoint that they share with a worker; `endpoints.py` is the same for Python.
//
// Arguments: base URL and key.

import assert from "node:assert/strict";
import { createReadStream, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const claude = new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey, maxRetries: 0 });
const SAID = "one two three";
const PICTURE = Buffer.from("\x89PNG a picture", "latin1").toString("base64");
const SEEN = `1 image of ${PICTURE.length} characters`;
const messages = [{ role: "user", content: SAID }];
const parameters = { type: "object", properties: { query: { type: "string" } }, required: ["query"], additionalProperties: false };
const schema = {
  type: "object",
  properties: { city: { type: "string" }, people: { type: "integer" }, kind: { type: "string", enum: ["town"] } },
  required: ["city", "people", "kind"],
  additionalProperties: false,
};
const PLACE = { city: SAID, people: 7, kind: "town" };
const func = { type: "function", function: { name: "look_up", parameters, strict: true } };
const flat = { type: "function", name: "look_up", parameters, strict: true };
const tool = { name: "look_up", input_schema: parameters };

async function collected(stream) {
  const all = [];
  for await (const one of await stream) all.push(one);
  return all;
}

async function chatCompletions(who) {
  const create = (way, more) => client.chat.completions.create({ model: `${who}-${way}`, messages, ...more });
  let answer = await create("echo");
  assert.equal(answer.choices[0].message.content, SAID);
  assert.equal(answer.usage.completion_tokens, 3);
  assert.match(answer._request_id, /^req_/);
  const chunks = await collected(create("echo", { stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), SAID);
  assert.equal(chunks.at(-1).usage.completion_tokens, 3);
  answer = await create("tools", { tools: [func] });
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { query: SAID });
  const streamed = client.chat.completions.stream({ model: `${who}-tools`, messages, tools: [func] });
  const [called] = (await streamed.finalChatCompletion()).choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(called.function.arguments), { query: SAID });
  const asked = { id: called.id, type: "function", function: { name: "look_up", arguments: called.function.arguments } };
  const back = [...messages, { role: "assistant", tool_calls: [asked] }, { role: "tool", tool_call_id: called.id, content: "found" }];
  assert.equal((await create("plain", { messages: back, tools: [func] })).choices[0].finish_reason, "stop");
  const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PICTURE}` } };
  const shown = [{ role: "user", content: [{ type: "text", text: "What is it?" }, image] }];
  assert.equal((await create("look", { messages: shown })).choices[0].message.content, SEEN);
  const format = { type: "json_schema", json_schema: { name: "place", strict: true, schema } };
  answer = await client.chat.completions.parse({ model: `${who}-echo`, messages, response_format: format });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), PLACE);
}

async function responses(who) {
  const create = (way, more) => client.responses.create({ model: `${who}-${way}`, input: SAID, ...more });
  let answer = await create("echo");
  assert.deepEqual([answer.output_text, answer.status, answer.usage.output_tokens], [SAID, "completed", 3]);
  const events = await collected(create("echo", { stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), SAID);
  assert.equal(events.at(-1).type, "response.completed");
  answer = await create("tools", { tools: [flat] });
  assert.deepEqual(JSON.parse(answer.output.find((item) => item.type === "function_call").arguments), { query: SAID });
  const streamed = client.responses.stream({ model: `${who}-tools`, input: SAID, tools: [flat] });
  const called = (await streamed.finalResponse()).output.find((item) => item.type === "function_call");
  assert.deepEqual(JSON.parse(called.arguments), { query: SAID });
  const back = [
    { role: "user", content: SAID },
    { type: "function_call", call_id: called.call_id, name: "look_up", arguments: called.arguments },
    { type: "function_call_output", call_id: called.call_id, output: "found" },
  ];
  assert.ok((await create("plain", { input: back, tools: [flat] })).output_text);
  const image = { type: "input_image", image_url: `data:image/png;base64,${PICTURE}`, detail: "auto" };
  const shown = [{ role: "user", content: [{ type: "input_text", text: "What is it?" }, image] }];
  assert.equal((await create("look", { input: shown })).output_text, SEEN);
  const format = { type: "json_schema", name: "place", strict: true, schema };
  answer = await client.responses.parse({ model: `${who}-echo`, input: SAID, text: { format } });
  assert.deepEqual(JSON.parse(answer.output_text), PLACE);
}

async function message(who) {
  const create = (way, more) => claude.messages.create({ model: `${who}-${way}`, max_tokens: 99, messages, ...more });
  let answer = await create("echo");
  assert.deepEqual([answer.content[0].text, answer.stop_reason, answer.usage.output_tokens], [SAID, "end_turn", 3]);
  assert.match(answer._request_id, /^req_/);
  const streamed = (way, more) => claude.messages.stream({ model: `${who}-${way}`, max_tokens: 99, messages, ...more });
  assert.equal(await streamed("echo").finalText(), SAID);
  answer = await create("tools", { tools: [tool] });
  assert.deepEqual([answer.stop_reason, answer.content[0].input], ["tool_use", { query: SAID }]);
  const [called] = (await streamed("tools", { tools: [tool] }).finalMessage()).content;
  assert.deepEqual(called.input, { query: SAID });
  const asked = { type: "tool_use", id: called.id, name: "look_up", input: called.input };
  const found = { type: "tool_result", tool_use_id: called.id, content: "found" };
  const back = [...messages, { role: "assistant", content: [asked] }, { role: "user", content: [found] }];
  assert.equal((await create("plain", { messages: back, tools: [tool] })).stop_reason, "end_turn");
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PICTURE } };
  const shown = [{ role: "user", content: [{ type: "text", text: "What is it?" }, image] }];
  assert.equal((await create("look", { messages: shown })).content[0].text, SEEN);
  answer = await create("echo", { output_config: { format: { type: "json_schema", schema } } });
  assert.deepEqual(JSON.parse(answer.content[0].text), PLACE);
}

async function otherEndpoints() {
  const model = "openai-echo";
  assert.equal((await client.completions.create({ model, prompt: SAID })).choices[0].text, SAID);
  const chunks = await collected(client.completions.create({ model, prompt: SAID, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), SAID);
  const vectors = await client.embeddings.create({ model, input: ["one", "two"], encoding_format: "float" });
  assert.deepEqual([vectors.data.length, vectors.data[0].embedding.length], [2, 8]);
  const image = await client.images.generate({ model, prompt: SAID });
  assert.equal(Buffer.from(image.data[0].b64_json, "base64").toString("latin1", 1, 4), "PNG");
  const speech = await client.audio.speech.create({ model, input: SAID, voice: "alloy" });
  assert.ok(Buffer.from(await speech.arrayBuffer()).toString().endsWith(SAID));
  const judged = await client.moderations.create({ model, input: "violence" });
  assert.ok(judged.results[0].flagged && judged.results[0].categories.violence);
  const names = (await collected(client.models.list())).map((entry) => entry.id);
  assert.ok(names.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
  const counted = await claude.messages.countTokens({ model: "anthropic-echo", messages });
  assert.equal(counted.input_tokens, 3);
  const refused = { name: "Error", status: 400, code: "unsupported_by_provider" };
  const elsewhere = { model: "anthropic-echo", input: SAID };
  await assert.rejects(client.embeddings.create({ ...elsewhere, encoding_format: "float" }), refused);
  await assert.rejects(client.moderations.create(elsewhere), refused);
  await assert.rejects(client.audio.speech.create({ ...elsewhere, voice: "alloy" }), refused);
  await assert.rejects(client.images.generate({ model: "anthropic-echo", prompt: SAID }), refused);
  await assert.rejects(claude.messages.countTokens({ model, messages }), Anthropic.BadRequestError);
}

async function transcriptions() {
  const spoken = (said = SAID) => toFile(Buffer.from(said), "speech.mp3", { type: "audio/mpeg" });
  const create = async (model, more, said, options) => client.audio.transcriptions.create({ file: await spoken(said), model, ...more }, options);
  let answer = await create("openai-echo");
  assert.equal(answer.text, SAID);
  assert.equal(answer.usage.output_tokens, 3);
  answer = await create("openai-echo", { response_format: "verbose_json", timestamp_granularities: ["segment"] });
  assert.deepEqual([answer.text, Number(answer.duration), answer.segments[0].text], [SAID, 2.5, SAID]);
  assert.equal((await create("openai-echo", { response_format: "text" })).trim(), SAID);
  const events = await collected(create("openai-echo", { stream: true }));
  assert.equal(events.map((event) => event.delta ?? "").join(""), SAID);
  assert.equal(events.at(-1).usage.output_tokens, 3);
  // The file comes before the model here, and, from a file of the disk, in chunks.
  const words = "word ".repeat(200_000);
  assert.equal((await create("openai-echo", {}, words)).text, words);
  const path = join(tmpdir(), `bailiwick-speech-${process.pid}.mp3`);
  writeFileSync(path, words);
  for (const form of [{ file: createReadStream(path), model: "openai-echo" }, { model: "openai-echo", file: createReadStream(path) }]) {
    assert.equal((await client.audio.transcriptions.create(form)).text, words);
  }
  rmSync(path);
  assert.equal((await client.audio.translations.create({ file: await spoken(), model: "openai-echo" })).text, SAID);
  await assert.rejects(create("anthropic-echo"), (error) => error.status === 400 && error.code === "unsupported_by_provider");
  await assert.rejects(create("nobody", {}, words), OpenAI.NotFoundError);
  await assert.rejects(create("openai-status-429"), OpenAI.RateLimitError);
  await assert.rejects(create("openai-truncated"), OpenAI.InternalServerError);
  await assert.rejects(create("openai-echo", {}, "x".repeat(27 << 20)), (error) => error.status === 413 && error.code === "request_too_large");
  await assert.rejects(create("openai-hang", {}, SAID, { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
  for await (const event of await create("openai-slow", { stream: true })) {
    assert.equal(event.type, "transcript.text.delta");
    break;
  }
}

async function errors(who) {
  const chat = (way, more) => client.chat.completions.create({ model: `${who}-${way}`, messages, ...more });
  const asks = (way) => claude.messages.create({ model: `${who}-${way}`, max_tokens: 9, messages });
  await assert.rejects(chat("status-429"), OpenAI.RateLimitError);
  await assert.rejects(chat("status-400"), OpenAI.BadRequestError);
  await assert.rejects(chat("status-500"), OpenAI.InternalServerError);
  await assert.rejects(chat("garbage"), OpenAI.InternalServerError);
  await assert.rejects(client.responses.create({ model: `${who}-status-429`, input: SAID }), OpenAI.RateLimitError);
  await assert.rejects(asks("status-429"), Anthropic.RateLimitError);
  await assert.rejects(asks("status-400"), Anthropic.BadRequestError);
  await assert.rejects(asks("garbage"), Anthropic.InternalServerError);
  await assert.rejects(collected(chat("truncated", { stream: true })), OpenAI.APIError);
  const cut = claude.messages.stream({ model: `${who}-truncated`, max_tokens: 99, messages });
  await assert.rejects(cut.finalMessage(), Anthropic.AnthropicError);
}

async function timeoutsAndCancellation(who) {
  const hello = { model: `${who}-hang`, messages };
  await assert.rejects(client.chat.completions.create(hello, { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
  await assert.rejects(claude.messages.create({ max_tokens: 9, ...hello }, { timeout: 500 }), Anthropic.APIConnectionTimeoutError);
  const slow = { model: `${who}-slow`, messages };
  for await (const chunk of await client.chat.completions.create({ ...slow, stream: true })) {
    if (chunk.choices[0]?.delta.content) break;
  }
  const stopping = new AbortController();
  const stream = claude.messages.stream({ max_tokens: 99, ...slow }, { signal: stopping.signal });
  stream.on("text", () => stopping.abort());
  await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
}

for (const who of ["openai", "compatible", "anthropic"]) {
  await chatCompletions(who);
  await responses(who);
  await message(who);
  await errors(who);
  await timeoutsAndCancellation(who);
}
await otherEndpoints();
await transcriptions();
console.log("ok");
