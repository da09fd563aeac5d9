/** An open notebook's pipeline: starts runs of the saved file, follows them, and knows how its stages stand. */
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { INotebookModel } from "@jupyterlab/notebook";
import { type ISignal, Signal } from "@lumino/signaling";

import { type Api, ApiError, faultFrom } from "../api";
import { API_VERSION, type Fault, type RunSnapshot, type StageState } from "../types";
import { changed } from "./snapshot";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

export class NotebookPipeline {
  private readonly _changed = new Signal<this, void>(this);
  private readonly _failed = new Signal<this, Fault>(this);
  private run: RunSnapshot | null = null;
  private readonly since = new Map<string, number>();
  /** Which cell stood where, and what it said, when the run was started: position - 1 -> cell. */
  private saved: { id: string; source: string }[] = [];
  private starting = false;

  constructor(
    private readonly context: DocumentRegistry.IContext<INotebookModel>,
    private readonly api: Api,
  ) {
    void context.ready.then(() => this.restore());
    context.disposed.connect(() => Signal.clearData(this));
  }

  /** Emitted whenever a state has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted once for every run that was refused or has failed. */
  get failed(): ISignal<this, Fault> {
    return this._failed;
  }

  get snapshot(): RunSnapshot | null {
    return this.run;
  }

  get running(): boolean {
    return this.starting || this.run?.state === "running";
  }

  /** How a stage or test stands in the newest run; null before its first. */
  stage(name: string): StageState | null {
    return this.run?.stages.find((stage) => stage.name === name) ?? null;
  }

  /** Seconds that a running stage has taken until now. */
  elapsed(stage: StageState): number {
    const since = this.since.get(stage.name);
    return since === undefined ? stage.seconds : (performance.now() - since) / 1000;
  }

  /** Whether a cell says something else than when the newest run was started. */
  edited(cellId: string, source: string): boolean {
    return this.saved.some((cell) => cell.id === cellId && cell.source !== source);
  }

  /** The id of the cell at a 1-based position of the file that ran. */
  cellAt(position: number): string | null {
    return this.saved[position - 1]?.id ?? null;
  }

  /** Save the notebook and run it as a pipeline. */
  async start(): Promise<void> {
    if (this.running) {
      return;
    }
    this.starting = true;
    this.run = null;
    this._changed.emit();
    try {
      await this.save();
      this.remember();
      const { id } = await this.api.startRun({ path: this.context.localPath });
      void this.follow(id);
    } catch (error) {
      this.starting = false;
      this._changed.emit();
      this._failed.emit(faultFrom(error));
    }
  }

  /** Stop the run, as Ctrl-C does. */
  async cancel(): Promise<void> {
    if (this.run) {
      try {
        await this.api.cancelRun(this.run.id);
      } catch (error) {
        this._failed.emit(faultFrom(error));
      }
    }
  }

  /** Go on following a run that was on its way when the page was opened. */
  private async restore(): Promise<void> {
    const newest = await this.api.newestRun(this.context.localPath).catch(() => null);
    if (newest?.state === "running" && !this.running) {
      this.remember();
      void this.follow(newest.id);
    }
  }

  private async save(): Promise<void> {
    if (this.context.model.dirty) {
      await this.context.save();
    }
    if (this.context.model.dirty) {
      throw new ApiError(0, {
        problem: "The notebook could not be saved, and only what is saved can run.",
        remedy: "Save it, then run the pipeline again.",
        stage: "",
        cell: 0,
        line: 0,
      });
    }
  }

  private remember(): void {
    this.saved = [...this.context.model.cells].map((cell) => ({ id: cell.id, source: cell.sharedModel.getSource() }));
  }

  /** Take a snapshot, then the changes after it; come back when the connection broke. */
  private async follow(id: string): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!this.context.isDisposed) {
      try {
        this.take(await this.api.run(id));
        if (this.run?.state !== "running") {
          return;
        }
        wait = FIRST_WAIT_MS;
        for await (const change of this.api.changes(id, this.run.sequence)) {
          if (this.run) {
            this.take(changed(this.run, change));
          }
        }
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) {
          this.lose(error.fault);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(2 * wait, LONGEST_WAIT_MS);
      }
    }
  }

  private take(run: RunSnapshot): void {
    if (run.api !== API_VERSION) {
      throw new ApiError(404, {
        problem: "This page and the server are of different versions of mlnb.",
        remedy: "Reload the page.",
        stage: "",
        cell: 0,
        line: 0,
      });
    }
    const ended = this.run?.state !== run.state && run.state !== "running";
    this.starting = false;
    this.run = run;
    for (const stage of run.stages) {
      if (stage.state !== "running") {
        this.since.delete(stage.name);
      } else if (!this.since.has(stage.name)) {
        this.since.set(stage.name, performance.now() - 1000 * stage.seconds);
      }
    }
    this._changed.emit();
    if (ended && run.state === "failed" && run.fault) {
      this._failed.emit(run.fault);
    }
  }

  /** The server no longer knows the run. */
  private lose(fault: Fault): void {
    this.starting = false;
    this.run = null;
    this._changed.emit();
    this._failed.emit(fault);
  }
}
