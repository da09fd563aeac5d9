/** A failed run becomes a notification, and a way to the cell where it failed. */
import { Notification, showErrorMessage } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";

import type { Fault } from "../types";
import type { NotebookPipeline } from "./pipeline";

const NOTIFICATION_LENGTH = 140; // Lab cuts what is longer

/** Tell a person about `fault`, with a way to its cell and to the whole text. */
export function notifyFailure(panel: NotebookPanel, pipeline: NotebookPipeline, fault: Fault): void {
  const text = `${fault.problem} ${fault.remedy}`;
  const actions: Notification.IAction[] = [];
  if (fault.cell > 0) {
    actions.push({
      label: `Show cell ${fault.cell}`,
      displayType: "accent",
      callback: () => showCell(panel, pipeline, fault),
    });
  }
  if (text.length > NOTIFICATION_LENGTH) {
    actions.push({ label: "Read all", callback: () => void showErrorMessage("The pipeline did not finish", text) });
  }
  Notification.error(text, { autoClose: false, actions });
}

/** Bring the cell of a fault on the screen and make it the active one. */
export function showCell(panel: NotebookPanel, pipeline: NotebookPipeline, fault: Fault): void {
  const id = pipeline.cellAt(fault.cell);
  const index = panel.content.widgets.findIndex((cell) => cell.model.id === id);
  if (index >= 0) {
    panel.content.activeCellIndex = index;
    panel.content.deselectAll();
    void panel.content.scrollToItem(index, "center");
  }
}
