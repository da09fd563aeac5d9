import { expect, test } from "vitest";

import type { RunChange, RunSnapshot, StageState } from "../types";
import { changed, statusText } from "./snapshot";

const stage = (name: string, state: StageState["state"]): StageState => ({
  name,
  state,
  seconds: 1,
  position: 0,
  total: 0,
});

const run = (state: RunSnapshot["state"], ...stages: StageState[]): RunSnapshot => ({
  api: 1,
  id: "0",
  path: "a.ipynb",
  sequence: 3,
  state,
  seconds: 12,
  stages,
  fault: null,
});

const change = (sequence: number, now: StageState | null): RunChange => ({
  sequence,
  state: "running",
  seconds: 13,
  stage: now,
  fault: null,
});

test("a change replaces its stage and keeps the order", () => {
  const before = run("running", stage("load", "done"), stage("train", "queued"));
  const after = changed(before, change(4, stage("load", "cached")));
  expect(after.stages.map(({ name, state }) => [name, state])).toEqual([
    ["load", "cached"],
    ["train", "queued"],
  ]);
  expect(after.sequence).toBe(4);
});

test("a stage that was not known yet comes last", () => {
  expect(changed(run("running", stage("load", "done")), change(4, stage("train", "queued"))).stages).toHaveLength(2);
});

test("a change that was seen already changes nothing", () => {
  const before = run("running", stage("load", "done"));
  expect(changed(before, change(3, stage("load", "queued")))).toBe(before);
});

test.each([
  [run("running"), "starting"],
  [run("running", stage("load", "done"), stage("train", "running"), stage("judge", "queued")), "2 of 3 · train"],
  [run("done", stage("load", "done")), "1 stage in 12s"],
  [run("done", stage("load", "cached"), stage("train", "done")), "2 stages in 12s, 1 cached"],
  [run("cancelled", stage("load", "cancelled")), "cancelled"],
  [run("failed"), "refused"],
  [run("failed", stage("load", "failed")), "failed"],
  [
    {
      ...run("failed", stage("train", "failed")),
      fault: { problem: "", remedy: "", stage: "train", cell: 3, line: 1 },
    },
    "failed in train",
  ],
])("how a run stands is said in a few words", (snapshot, text) => {
  expect(statusText(snapshot, (seconds) => `${seconds}s`)).toBe(text);
});
