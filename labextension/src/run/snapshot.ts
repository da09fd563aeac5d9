/** A run as it stands, and a change: the run as it stands then. */
import type { RunChange, RunSnapshot, StageState } from "../types";

/** The run after `change`; a change that it has seen already changes nothing. */
export function changed(run: RunSnapshot, change: RunChange): RunSnapshot {
  if (change.sequence <= run.sequence) {
    return run;
  }
  const { sequence, state, seconds, fault, stage } = change;
  return { ...run, sequence, state, seconds, fault, stages: stage ? withStage(run.stages, stage) : run.stages };
}

/** One line on how the run stands: "2 of 5 · train", "5 stages in 12 s", "failed in train", "refused". */
export function statusText(run: RunSnapshot, seconds: (value: number) => string): string {
  const ended = run.stages.filter((stage) => stage.state !== "queued" && stage.state !== "running");
  switch (run.state) {
    case "running": {
      const now = run.stages.find((stage) => stage.state === "running");
      if (run.stages.length === 0) {
        return "starting";
      }
      const count = `${ended.length + (now ? 1 : 0)} of ${run.stages.length}`;
      return now ? `${count} · ${now.name}` : count;
    }
    case "done": {
      const cached = ended.filter((stage) => stage.state === "cached").length;
      const count = `${ended.length} ${ended.length === 1 ? "stage" : "stages"} in ${seconds(run.seconds)}`;
      return cached > 0 ? `${count}, ${cached} cached` : count;
    }
    case "failed":
      if (run.stages.length === 0) {
        return "refused";
      }
      return run.fault?.stage ? `failed in ${run.fault.stage}` : "failed";
    case "cancelled":
      return "cancelled";
  }
}

function withStage(stages: StageState[], stage: StageState): StageState[] {
  const known = stages.some((other) => other.name === stage.name);
  return known ? stages.map((other) => (other.name === stage.name ? stage : other)) : [...stages, stage];
}
