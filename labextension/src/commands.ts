/** The commands of the palette; the toolbar's button does the same. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { ICommandPalette } from "@jupyterlab/apputils";
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import { runIcon, stopIcon } from "@jupyterlab/ui-components";

import { showCell } from "./run/failure";
import type { NotebookPipeline } from "./run/pipeline";

export namespace CommandIds {
  export const run = "mlnb:run-pipeline";
  export const cancel = "mlnb:cancel-run";
  export const showFailure = "mlnb:show-failure";
}

/** Add the commands, for whichever notebook is in front. */
export function addCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  palette: ICommandPalette | null,
  pipelineOf: (panel: NotebookPanel) => NotebookPipeline,
): void {
  const current = (): NotebookPipeline | null => (tracker.currentWidget ? pipelineOf(tracker.currentWidget) : null);
  app.commands.addCommand(CommandIds.run, {
    label: "Run Pipeline",
    caption: "Save the notebook and run its stages as a pipeline",
    icon: runIcon,
    isEnabled: () => current()?.running === false,
    execute: () => current()?.start(),
  });
  app.commands.addCommand(CommandIds.cancel, {
    label: "Cancel Pipeline Run",
    caption: "Stop the pipeline; what has finished is kept",
    icon: stopIcon,
    isEnabled: () => current()?.running === true,
    execute: () => current()?.cancel(),
  });
  app.commands.addCommand(CommandIds.showFailure, {
    label: "Go to the Failing Cell",
    caption: "Show the cell where the newest run failed",
    isEnabled: () => Boolean(current()?.snapshot?.fault?.cell),
    execute: () => {
      const panel = tracker.currentWidget;
      const fault = current()?.snapshot?.fault;
      if (panel && fault) {
        showCell(panel, pipelineOf(panel), fault);
      }
    },
  });
  for (const command of [CommandIds.run, CommandIds.cancel, CommandIds.showFailure]) {
    palette?.addItem({ command, category: "mlnb" });
  }
}
