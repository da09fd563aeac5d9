/** The toolbar's button: runs the pipeline, and cancels it while it runs. */
import { ReactWidget, runIcon, stopIcon, ToolbarButtonComponent } from "@jupyterlab/ui-components";
import { createElement, type ReactElement } from "react";

import type { NotebookPipeline } from "./pipeline";

export class RunButton extends ReactWidget {
  constructor(private readonly pipeline: NotebookPipeline) {
    super();
    this.addClass("mlnb-RunButton");
    this.addClass("jp-ToolbarButton");
    pipeline.changed.connect(this.update, this);
  }

  render(): ReactElement {
    const { pipeline } = this;
    return pipeline.running
      ? createElement(ToolbarButtonComponent, {
          key: "cancel",
          icon: stopIcon,
          label: "Cancel run",
          tooltip: "Stop the pipeline; what has finished is kept",
          onClick: () => void pipeline.cancel(),
        })
      : createElement(ToolbarButtonComponent, {
          key: "run",
          icon: runIcon,
          label: "Run pipeline",
          tooltip: "Save the notebook and run its stages as a pipeline",
          onClick: () => void pipeline.start(),
        });
  }
}
