/** A mark and a stage's state become the words on a chip, and those that are read aloud. */
import { secondsText } from "../seconds";
import type { CellMark, StageState } from "../types";

export type ChipState = StageState["state"] | "idle" | "edited" | "none";

export interface ChipWords {
  kind: string;
  name: string;
  /** What is shown, with the time. */
  state: string;
  /** What is read aloud: without the time of a running stage, which changes every second. */
  spoken: string;
  /** What pointing at the chip tells. */
  hint: string;
}

const KINDS: Record<CellMark["kind"], { word: string; hint: string }> = {
  setup: { word: "setup", hint: "Runs first in every stage" },
  stage: { word: "stage", hint: "A stage of the pipeline" },
  test: { word: "test", hint: "Tests that run after the stage" },
  deploy: { word: "deploy", hint: "Deploys the model when this cell is run" },
  parameters: { word: "parameters", hint: "Defaults that a run may override" },
  metrics: { word: "metrics", hint: "Numbers that a run records" },
  skip: { word: "skip", hint: "Never runs in the pipeline" },
  fault: { word: "mark", hint: "" },
};

/** The state to show: an edited cell's result is no longer this cell's result. */
export function chipState(mark: CellMark, stage: StageState | null, edited: boolean): ChipState {
  if (mark.kind === "fault") {
    return "failed";
  }
  if (!mark.node) {
    return "none";
  }
  if (stage === null) {
    return "idle";
  }
  const ended = stage.state !== "queued" && stage.state !== "running";
  return ended && edited ? "edited" : stage.state;
}

/** The words for a mark in a state; `seconds` is the stage's time so far or in all. */
export function chipWords(mark: CellMark, state: ChipState, stage: StageState | null, seconds: number): ChipWords {
  const { word, hint } = KINDS[mark.kind];
  if (mark.kind === "fault") {
    const text = `${mark.problem} ${mark.remedy}`;
    return { kind: word, name: "", state: text, spoken: `mark: ${text}`, hint: text };
  }
  const said = stateWord(mark, state);
  const shown = [said, timeText(state, stage, seconds)].filter(Boolean).join(" ");
  const title = [word, mark.name].filter(Boolean).join(" ");
  const spoken = state === "running" ? said : shown;
  return { kind: word, name: mark.name, state: shown, spoken: spoken ? `${title}: ${spoken}` : title, hint };
}

function stateWord(mark: CellMark, state: ChipState): string {
  if (state === "none") {
    return "";
  }
  if (state === "done" && mark.kind === "test") {
    return "passed";
  }
  return state === "idle" ? "not run yet" : state === "edited" ? "edited since its run" : state;
}

function timeText(state: ChipState, stage: StageState | null, seconds: number): string {
  if (state === "running") {
    const cells = stage && stage.total > 1 && stage.position > 0 ? ` · cell ${stage.position} of ${stage.total}` : "";
    return `${secondsText(seconds)}${cells}`;
  }
  return state === "done" || state === "failed" ? secondsText(seconds) : "";
}
