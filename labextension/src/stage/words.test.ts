import { expect, test } from "vitest";

import type { CellMark, StageState } from "../types";
import { chipState, chipWords } from "./words";

const mark = (kind: CellMark["kind"], name: string, node: string): CellMark => ({
  kind,
  name,
  node,
  problem: "",
  remedy: "",
});

const TRAIN = mark("stage", "train", "train");
const stage = (state: StageState["state"], position = 0, total = 0): StageState => ({
  name: "train",
  state,
  seconds: 2.1,
  position,
  total,
});

test("a stage has no state before its first run", () => {
  expect(chipState(TRAIN, null, false)).toBe("idle");
});

test("a result is no longer the cell's once the cell was edited", () => {
  expect(chipState(TRAIN, stage("done"), true)).toBe("edited");
  expect(chipState(TRAIN, stage("cached"), true)).toBe("edited");
});

test("a stage that runs is shown running, whatever is typed meanwhile", () => {
  expect(chipState(TRAIN, stage("running"), true)).toBe("running");
});

test("what no run executes has no state", () => {
  expect(chipState(mark("setup", "", ""), null, true)).toBe("none");
  expect(chipWords(mark("setup", "", ""), "none", null, 0).spoken).toBe("setup");
});

test("the seconds of a running stage are shown but not read aloud", () => {
  const words = chipWords(TRAIN, "running", stage("running", 2, 3), 12.3);
  expect(words.state).toBe("running 12 s · cell 2 of 3");
  expect(words.spoken).toBe("stage train: running");
});

test("a finished stage tells its time, a cached one does not", () => {
  expect(chipWords(TRAIN, "done", stage("done"), 2.1).spoken).toBe("stage train: done 2.1 s");
  expect(chipWords(TRAIN, "cached", stage("cached"), 2.1).state).toBe("cached");
});

test("tests pass or fail", () => {
  expect(chipWords(mark("test", "train", "test-train"), "done", stage("done"), 0.3).state).toBe("passed 0.3 s");
});

test("a mark that cannot be read says why and what to do", () => {
  const fault: CellMark = {
    ...mark("fault", "", ""),
    problem: "The cell has an unknown mark.",
    remedy: "Write stage.",
  };
  expect(chipState(fault, null, false)).toBe("failed");
  expect(chipWords(fault, "failed", null, 0).state).toBe("The cell has an unknown mark. Write stage.");
});
