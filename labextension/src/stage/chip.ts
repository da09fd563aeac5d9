/** The chip above a marked cell: what the cell is, and how its stage stands. */
import { Widget } from "@lumino/widgets";

import type { ChipState, ChipWords } from "./words";

export class Chip extends Widget {
  private readonly kind = span("mlnb-Chip-kind");
  private readonly name = span("mlnb-Chip-name");
  private readonly state = span("mlnb-Chip-state");

  constructor() {
    super();
    this.addClass("mlnb-ChipRow");
    const chip = span("mlnb-Chip");
    chip.setAttribute("aria-hidden", "true");
    chip.append(this.kind, this.name, this.state);
    this.node.setAttribute("role", "note");
    this.node.append(chip);
  }

  /** Show a state in words; only what has changed touches the page. */
  set(state: ChipState, words: ChipWords): void {
    const { dataset } = this.node;
    for (const [key, value] of Object.entries({ state, kind: words.kind, name: words.name })) {
      if (dataset[key] !== value) {
        dataset[key] = value;
      }
    }
    write(this.kind, words.kind);
    write(this.name, words.name);
    write(this.state, words.state);
    if (this.node.getAttribute("aria-label") !== words.spoken) {
      this.node.setAttribute("aria-label", words.spoken);
    }
    if (this.node.title !== words.hint) {
      this.node.title = words.hint;
    }
  }
}

function span(className: string): HTMLSpanElement {
  const node = document.createElement("span");
  node.className = className;
  return node;
}

function write(node: HTMLSpanElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
