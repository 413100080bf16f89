// OpenAI's own SDK for Node against a running Sluice; run.py starts both ends.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AuthenticationError } from "openai";

const baseURL = `${process.env.SLUICE_URL}/v1`;
const client = new OpenAI({ apiKey: process.env.SLUICE_KEY, baseURL, maxRetries: 0, timeout: 20_000 });
const model = "gpt-4.1-mini";
const messages = [{ role: "user", content: "Say hello." }];

async function collected(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

test("a plain chat completion", async () => {
  const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
  assert.equal(data.choices[0].message.content, "hi");
  assert.equal(data.usage.total_tokens, 10);
  assert.ok(response.headers.get("x-request-id"));
});

test("a streamed chat completion has no usage that nobody asked for", async () => {
  const chunks = await collected(await client.chat.completions.create({ model, messages, stream: true }));
  assert.equal(textOf(chunks), "Hello world!");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.every((chunk) => !chunk.usage));
});

test("a streamed chat completion ends with the usage that was asked for", async () => {
  const request = { model, messages, stream: true, stream_options: { include_usage: true } };
  const chunks = await collected(await client.chat.completions.create(request));
  assert.equal(textOf(chunks), "Hello world!");
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 5);
});

test("a streamed response has its typed events in order", async () => {
  const events = await collected(await client.responses.create({ model, input: "Say hello.", stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), "Hello world!");
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.completed");
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
});

test("embeddings", async () => {
  const request = { model: "text-embedding-3-small", input: ["a", "b"], encoding_format: "float" };
  const answer = await client.embeddings.create(request);
  assert.equal(answer.data.length, 2);
  assert.equal(answer.data[1].embedding.length, 4);
});

test("a file's upload arrives whole", async () => {
  const bytes = Buffer.alloc(300_000, "sluice ");
  const file = await client.files.create({ file: new File([bytes], "notes.txt"), purpose: "assistants" });
  assert.equal(file.path, "/v1/files"); // the upstream answers with what it got
  assert.ok(file.body_bytes > bytes.length);
});

test("a wrong key is an AuthenticationError", async () => {
  const stranger = client.withOptions({ apiKey: "sk-sluice-nobody-0000000000000000" });
  await assert.rejects(stranger.chat.completions.create({ model, messages }), (error) => {
    assert.ok(error instanceof AuthenticationError);
    assert.equal(error.status, 401);
    return true;
  });
});

test("a stream can be aborted, and the next request is served", async () => {
  const stream = await client.chat.completions.create({ model: "endless", messages, stream: true });
  let seen = 0;
  for await (const _ of stream) {
    seen += 1;
    if (seen === 3) stream.controller.abort();
  }
  assert.ok(seen >= 3);
  const next = await client.chat.completions.create({ model, messages });
  assert.equal(next.choices[0].message.content, "hi");
});
