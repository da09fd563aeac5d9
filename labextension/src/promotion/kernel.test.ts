// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { KernelSource } from "./kernel";

type Listener = Parameters<ConstructorParameters<typeof KernelSource>[0]["on"]>[1];
const FAULT = { problem: "Broken.", remedy: "Look.", stage: "", cell: 0, line: 0 };

describe("a source that asks its kernel", () => {
  let sent: { id: string }[];
  let answer: Listener;
  let source: KernelSource;

  beforeEach(() => {
    vi.useFakeTimers();
    sent = [];
    source = new KernelSource({
      get: () => "",
      send: (message) => sent.push(message as { id: string }),
      on: (_, listener) => {
        answer = listener;
      },
      off: () => undefined,
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const id = (): string => sent[0]?.id ?? "";
  const told = (asked: Promise<unknown>): Promise<string> =>
    asked.then(
      () => "",
      (error: unknown) => source.fault(error).problem,
    );

  it("takes the answer to its own question", async () => {
    const asked = source.revision();
    answer({ id: "another", answer: { revision: "0" } });
    answer({ id: id(), answer: { revision: "1" } });
    expect(await asked).toBe("1");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("tells the fault that the kernel answers with", async () => {
    const asked = told(source.revision());
    answer({ id: id(), fault: FAULT });
    expect(await asked).toBe("Broken.");
  });

  it("does not wait for ever for a kernel that is gone", async () => {
    const asked = told(source.revision());
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await asked).toBe("The kernel has not answered for a minute.");
  });
});
