// Tests of the API with OpenAI's JavaScript client; run them with `node --test`.
// API_URL is the server's base URL; MIXED is the id of a batch of seven requests of
// which one failed. The server must have at least 250 batches.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.API_URL, apiKey: "none" });
const endpoint = "/v1/chat/completions";
const ended = new Set(["completed", "failed", "expired", "cancelled"]);
const unknown = "0".repeat(32);

const line = (custom_id) => ({
  custom_id,
  method: "POST",
  url: endpoint,
  body: {
    model: "demo",
    messages: [{ role: "user", content: `About ${custom_id}.` }],
    max_tokens: 8,
  },
});
const data = [1, 2, 3].map((n) => JSON.stringify(line(`js-${n}`)) + "\n").join("");

const upload = async (options = {}) =>
  client.files.create({
    file: await toFile(Buffer.from(data), "in.jsonl"),
    purpose: "batch",
    ...options,
  });

const create = async (options = {}, more = {}) =>
  client.batches.create(
    {
      input_file_id: (await upload()).id,
      endpoint,
      completion_window: "24h",
      ...options,
    },
    more,
  );

const untilEnded = async (batch) => {
  while (!ended.has(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
};

test("an upload returns the File object", async () => {
  const file = await upload();
  assert.equal(file.object, "file");
  assert.equal(file.bytes, Buffer.byteLength(data));
  assert.equal(file.filename, "in.jsonl");
  assert.equal(file.purpose, "batch");
});

test("a file can be retrieved", async () => {
  const file = await upload();
  assert.equal((await client.files.retrieve(file.id)).id, file.id);
});

test("the content equals the upload", async () => {
  const file = await upload();
  assert.equal(await (await client.files.content(file.id)).text(), data);
});

test("a file can expire", async () => {
  const file = await upload({
    expires_after: { anchor: "created_at", seconds: 3600 },
  });
  assert.equal(file.expires_at, file.created_at + 3600);
});

test("a deleted file is not found", async () => {
  const file = await upload();
  assert.equal((await client.files.delete(file.id)).deleted, true);
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
});

test("paging through all files ends", async () => {
  const file = await upload();
  const seen = new Set();
  for await (const one of client.files.list({ limit: 5 })) {
    assert.ok(!seen.has(one.id));
    seen.add(one.id);
  }
  assert.ok(seen.has(file.id));
});

test("a batch can be created, polled and downloaded", async () => {
  const made = await create({ metadata: { from: "javascript" } });
  assert.equal(made.object, "batch");
  assert.equal(made.expires_at, made.created_at + 86400);
  const batch = await untilEnded(made);
  assert.equal(batch.status, "completed");
  assert.deepEqual(batch.request_counts, { total: 3, completed: 3, failed: 0 });
  assert.deepEqual(batch.metadata, { from: "javascript" });
  assert.equal(batch.error_file_id, null);
  const text = await (await client.files.content(batch.output_file_id)).text();
  const ids = text.trim().split("\n").map((one) => JSON.parse(one).custom_id);
  assert.deepEqual(ids, ["js-1", "js-2", "js-3"]);
});

test("extension fields are sent and returned", async () => {
  const batch = await create({ seed: 7, priority: "high" });
  assert.equal(batch.seed, 7);
});

test("a batch with a failed request is completed", async () => {
  const batch = await client.batches.retrieve(process.env.MIXED);
  assert.equal(batch.status, "completed");
  assert.deepEqual(batch.request_counts, { total: 7, completed: 6, failed: 1 });
});

test("a batch can be cancelled", async () => {
  const batch = await client.batches.cancel((await create()).id);
  assert.ok(["cancelling", "cancelled"].includes(batch.status));
  assert.equal((await untilEnded(batch)).status, "cancelled");
});

test("a completed batch cannot be cancelled", async () => {
  await assert.rejects(client.batches.cancel(process.env.MIXED), (error) => {
    assert.ok(error instanceof OpenAI.ConflictError);
    assert.match(error.message, /Cannot cancel a batch with status 'completed'/);
    assert.equal(error.headers.get("x-should-retry"), "false");
    return true;
  });
});

test("auto-paging yields more than 250 batches once each", async () => {
  const seen = new Set();
  for await (const batch of client.batches.list({ limit: 100 })) {
    assert.ok(!seen.has(batch.id));
    seen.add(batch.id);
  }
  assert.ok(seen.size >= 250);
});

test("a page has has_more", async () => {
  const page = await client.batches.list({ limit: 2 });
  assert.equal(page.data.length, 2);
  assert.equal(page.has_more, true);
  const next = await page.getNextPage();
  assert.ok(next.data[0].id < page.data[1].id);
});

for (const [name, call] of [
  ["batch", () => client.batches.retrieve(`batch_${unknown}`)],
  ["file", () => client.files.retrieve(`file_${unknown}`)],
  ["model", () => client.models.retrieve("gpt-unknown")],
  ["input file", () => create({ input_file_id: `file_${unknown}` })],
]) {
  test(`an unknown ${name} is not found`, async () => {
    await assert.rejects(call(), OpenAI.NotFoundError);
  });
}

for (const [param, value] of [
  ["endpoint", "/v1/embeddings"],
  ["completion_window", "31d"],
  ["seed", "seven"],
  ["colour", "blue"],
]) {
  test(`an invalid ${param} is rejected and named`, async () => {
    await assert.rejects(create({ [param]: value }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, param);
      assert.equal(error.type, "invalid_request_error");
      assert.match(error.requestID, /^req_/);
      return true;
    });
  });
}

test("the same idempotency key creates one batch", async () => {
  const file = await upload();
  const more = { headers: { "idempotency-key": "javascript" } };
  const made = () => create({ input_file_id: file.id }, more);
  assert.equal((await made()).id, (await made()).id);
});

test("models are listed", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("demo"));
});
