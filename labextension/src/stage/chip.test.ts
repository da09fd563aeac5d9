// @vitest-environment happy-dom
import { expect, test, vi } from "vitest";

import { Chip } from "./chip";

test("a chip shows its words and names itself for a screen reader", () => {
  const chip = new Chip();
  chip.set("done", { kind: "stage", name: "train", state: "done 2.1 s", spoken: "stage train: done 2.1 s", hint: "" });
  expect(chip.node.textContent).toBe("stagetraindone 2.1 s");
  expect(chip.node.getAttribute("aria-label")).toBe("stage train: done 2.1 s");
  expect(chip.node.dataset["state"]).toBe("done");
});

test("showing the same again touches nothing, so that nothing is read aloud again", async () => {
  const chip = new Chip();
  const words = { kind: "stage", name: "train", state: "done 2.1 s", spoken: "stage train: done 2.1 s", hint: "" };
  chip.set("done", words);
  const touched = vi.fn();
  const observer = new MutationObserver(touched);
  observer.observe(chip.node, { attributes: true, subtree: true, childList: true, characterData: true });
  chip.set("done", { ...words });
  await Promise.resolve();
  expect(touched).not.toHaveBeenCalled();
  chip.set("failed", words);
  await vi.waitFor(() => expect(touched).toHaveBeenCalled());
});
