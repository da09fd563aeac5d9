// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { Chip } from "./chip";

test("a chip shows its words and names itself for a screen reader", () => {
  const chip = new Chip();
  chip.set("done", { kind: "stage", name: "train", state: "done 2.1 s", spoken: "stage train: done 2.1 s", hint: "" });
  expect(chip.node.textContent).toBe("stagetraindone 2.1 s");
  expect(chip.node.getAttribute("aria-label")).toBe("stage train: done 2.1 s");
  expect(chip.node.dataset["state"]).toBe("done");
});
