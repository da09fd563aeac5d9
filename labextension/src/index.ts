/** The wiring: chips on cells, the button and its status in each notebook's toolbar, commands in the palette. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, IToolbarWidgetRegistry, Notification } from "@jupyterlab/apputils";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import { INotebookTracker, type NotebookPanel } from "@jupyterlab/notebook";

import { Api, faultFrom } from "./api";
import { addCommands } from "./commands";
import { addPromotion } from "./promotion/renderer";
import { RunButton } from "./run/button";
import { notifyFailure, showCell } from "./run/failure";
import { NotebookPipeline } from "./run/pipeline";
import { RunStatus } from "./run/status";
import { Chips } from "./stage/chips";
import { MarkReader } from "./stage/marks";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "mlnb:plugin",
  description: "Runs the notebook as a pipeline and shows how its stages stand.",
  autoStart: true,
  requires: [INotebookTracker, IToolbarWidgetRegistry],
  optional: [ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    toolbar: IToolbarWidgetRegistry,
    palette: ICommandPalette | null,
  ) => {
    const api = new Api();
    const marks = new MarkReader(api);
    const pipelines = new WeakMap<DocumentRegistry.Context, NotebookPipeline>();
    const pipelineOf = (panel: NotebookPanel): NotebookPipeline => {
      const known = pipelines.get(panel.context);
      const pipeline = known ?? new NotebookPipeline(panel.context, api);
      if (!known) {
        pipelines.set(panel.context, pipeline);
        pipeline.failed.connect((_, fault) => notifyFailure(panel, pipeline, fault));
      }
      return pipeline;
    };
    let told = false;
    const tellOnce = (error: unknown): void => {
      if (!told) {
        told = true;
        const { problem, remedy } = faultFrom(error);
        Notification.error(`mlnb: ${problem} ${remedy}`, { autoClose: false });
      }
    };

    toolbar.addFactory<NotebookPanel>("Notebook", "mlnb-run", (panel) => new RunButton(pipelineOf(panel)));
    toolbar.addFactory<NotebookPanel>("Notebook", "mlnb-status", (panel) => {
      const pipeline = pipelineOf(panel);
      return new RunStatus(pipeline, () => {
        const fault = pipeline.snapshot?.fault;
        if (fault) {
          showCell(panel, pipeline, fault);
        }
      });
    });
    addCommands(app, tracker, palette, pipelineOf);
    tracker.widgetAdded.connect((_, panel) => {
      addPromotion(panel, api);
      void panel.context.ready.then(() => new Chips(panel, pipelineOf(panel), marks, tellOnce));
    });
  },
};

export default plugin;
