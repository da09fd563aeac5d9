/** The cells of a notebook, as they stand in the editor, become their marks: the server's parser reads them. */
import type { ICellModel } from "@jupyterlab/cells";

import type { Api } from "../api";
import { API_VERSION, type CellMark, type CellText } from "../types";

const KNOWN_TEXTS = 2000; // every pause in typing makes one

export class MarkReader {
  private readonly known = new Map<string, CellMark | null>();

  constructor(private readonly api: Api) {}

  /** The mark of a cell if it was read already, else undefined. */
  mark(cell: ICellModel): CellMark | null | undefined {
    return this.known.get(JSON.stringify(text(cell)));
  }

  /** Read the marks of all cells that are not known yet. */
  async read(cells: readonly ICellModel[]): Promise<void> {
    const asked = new Map<string, CellText>();
    for (const cell of cells) {
      const key = JSON.stringify(text(cell));
      if (!this.known.has(key)) {
        asked.set(key, text(cell));
      }
    }
    if (asked.size === 0) {
      return;
    }
    const reply = await this.api.marks([...asked.values()]);
    if (reply.api !== API_VERSION) {
      throw new Error("this page and the server are of different versions of mlnb: reload the page");
    }
    [...asked.keys()].forEach((key, index) => {
      this.known.set(key, reply.marks[index] ?? null);
    });
    const oldest = this.known.keys();
    while (this.known.size > Math.max(KNOWN_TEXTS, cells.length)) {
      this.known.delete(oldest.next().value ?? "");
    }
  }
}

function text(cell: ICellModel): CellText {
  const tags: unknown = cell.getMetadata("tags");
  return {
    source: cell.sharedModel.getSource(),
    tags: Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === "string") : [],
  };
}
