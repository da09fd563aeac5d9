import { expect, test } from "vitest";

import { eventData } from "./stream";

function body(...parts: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) {
        controller.enqueue(part);
      }
      controller.close();
    },
  });
}

async function all(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const found: string[] = [];
  for await (const data of eventData(stream)) {
    found.push(data);
  }
  return found;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("events are told apart by blank lines, ids and heartbeats are passed over", async () => {
  const stream = body(bytes('id: 1\ndata: {"a":1}\n\n: still here\n\nid: 2\ndata: {"a":2}\n\n'));
  expect(await all(stream)).toEqual(['{"a":1}', '{"a":2}']);
});

test("an event that comes in pieces, even within a letter, is put together", async () => {
  const whole = bytes('data: {"name":"größe"}\n\n');
  const pieces = [...whole].map((byte) => Uint8Array.of(byte));
  expect(await all(body(...pieces))).toEqual(['{"name":"größe"}']);
});

test("an event that the connection cut off is not told", async () => {
  expect(await all(body(bytes('data: {"a":1}\n\ndata: {"a"')))).toEqual(['{"a":1}']);
});
