/** The words beside the button: how the newest run stands. Read aloud when it changes; a click goes to a failure. */
import { Widget } from "@lumino/widgets";

import { secondsText } from "../seconds";
import type { NotebookPipeline } from "./pipeline";
import { statusText } from "./snapshot";

export class RunStatus extends Widget {
  private readonly button = document.createElement("button");

  constructor(
    private readonly pipeline: NotebookPipeline,
    showFailure: () => void,
  ) {
    super();
    this.addClass("mlnb-RunStatus");
    this.node.setAttribute("role", "status");
    this.button.type = "button";
    this.button.onclick = showFailure;
    this.node.append(this.button);
    pipeline.changed.connect(this.show_, this);
    this.show_();
  }

  private show_(): void {
    const run = this.pipeline.snapshot;
    const text = run ? statusText(run, secondsText) : this.pipeline.running ? "starting" : "";
    this.node.dataset["state"] = run?.state ?? (this.pipeline.running ? "running" : "idle");
    this.button.disabled = !run?.fault?.cell;
    this.button.title = run?.fault ? `${run.fault.problem} ${run.fault.remedy}` : "";
    if (this.button.textContent !== text) {
      this.button.textContent = text;
    }
  }
}
