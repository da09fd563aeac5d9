/** The chips of one notebook panel: one above each marked code cell, kept true while people type and runs go on. */
import { type Cell, CodeCell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { Debouncer } from "@lumino/polling";
import type { PanelLayout } from "@lumino/widgets";

import type { NotebookPipeline } from "../run/pipeline";
import type { CellMark } from "../types";
import { Chip } from "./chip";
import { FaultBox } from "./fault";
import type { MarkReader } from "./marks";
import { chipState, chipWords } from "./words";

const TYPING_PAUSE_MS = 150;
const TICK_MS = 250;

export class Chips {
  private readonly chips = new Map<Cell, Chip>();
  private readonly lastMarks = new WeakMap<Cell, CellMark>();
  private fault: { cell: string; box: FaultBox } | null = null;
  private ticking = 0;
  private readonly reading = new Debouncer(() => this.read(), TYPING_PAUSE_MS);

  constructor(
    private readonly panel: NotebookPanel,
    private readonly pipeline: NotebookPipeline,
    private readonly marks: MarkReader,
    private readonly onError: (error: unknown) => void,
  ) {
    void this.reading.invoke();
    panel.model?.contentChanged.connect(() => void this.reading.invoke(), this);
    pipeline.changed.connect(this.show, this);
    panel.disposed.connect(this.dispose, this);
  }

  private async read(): Promise<void> {
    try {
      await this.marks.read(this.codeCells().map((cell) => cell.model));
    } catch (error) {
      this.onError(error);
    }
    if (!this.panel.isDisposed) {
      this.show();
    }
  }

  /** Bring chips, states and the fault box in line with the cells and the run. */
  private show(): void {
    const cells = this.codeCells();
    for (const [cell, chip] of this.chips) {
      if (cell.isDisposed) {
        chip.dispose();
        this.chips.delete(cell);
      }
    }
    for (const cell of cells) {
      const mark = this.marks.mark(cell.model);
      if (mark !== undefined) {
        this.showMark(cell, mark);
      } else {
        this.showState(cell);
      }
    }
    this.showFault(cells);
    this.tick();
  }

  private showMark(cell: CodeCell, mark: CellMark | null): void {
    const chip = this.chips.get(cell);
    if (mark === null) {
      chip?.dispose();
      this.chips.delete(cell);
      return;
    }
    if (!chip) {
      const made = new Chip();
      this.chips.set(cell, made);
      (cell.layout as PanelLayout).insertWidget(0, made);
    }
    this.lastMarks.set(cell, mark);
    this.showState(cell);
  }

  /** While a person types, the mark read last stays. */
  private showState(cell: CodeCell): void {
    const chip = this.chips.get(cell);
    const mark = this.lastMarks.get(cell);
    if (!chip || !mark) {
      return;
    }
    const stage = mark.node ? this.pipeline.stage(mark.node) : null;
    const edited = this.pipeline.edited(cell.model.id, cell.model.sharedModel.getSource());
    const state = chipState(mark, stage, edited);
    chip.set(state, chipWords(mark, state, stage, stage ? this.pipeline.elapsed(stage) : 0));
  }

  private showFault(cells: CodeCell[]): void {
    const fault = this.pipeline.snapshot?.state === "failed" ? this.pipeline.snapshot.fault : null;
    const id = fault ? this.pipeline.cellAt(fault.cell) : null;
    const cell = cells.find((candidate) => candidate.model.id === id);
    const holds = cell && id && !this.pipeline.edited(id, cell.model.sharedModel.getSource());
    if (this.fault && (!holds || this.fault.cell !== id)) {
      this.fault.box.dispose();
      this.fault = null;
    }
    if (fault && cell && id && holds && !this.fault) {
      const box = new FaultBox(fault);
      this.fault = { cell: id, box };
      (cell.layout as PanelLayout).insertWidget(this.chips.has(cell) ? 1 : 0, box);
    }
  }

  /** Count the seconds of running stages. */
  private tick(): void {
    const running = this.pipeline.running && !this.panel.isDisposed;
    if (running && this.ticking === 0) {
      this.ticking = window.setInterval(() => {
        for (const cell of this.codeCells()) {
          this.showState(cell);
        }
      }, TICK_MS);
    } else if (!running && this.ticking !== 0) {
      window.clearInterval(this.ticking);
      this.ticking = 0;
    }
  }

  private codeCells(): CodeCell[] {
    return this.panel.isDisposed
      ? []
      : this.panel.content.widgets.filter((cell): cell is CodeCell => cell instanceof CodeCell);
  }

  private dispose(): void {
    window.clearInterval(this.ticking);
    this.reading.dispose();
    this.pipeline.changed.disconnect(this.show, this);
  }
}
