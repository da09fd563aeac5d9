/** The box above a cell where a run failed: what is wrong, and what to do. */
import { Widget } from "@lumino/widgets";

import type { Fault } from "../types";

export class FaultBox extends Widget {
  constructor(fault: Fault) {
    super();
    this.addClass("mlnb-Fault");
    this.node.setAttribute("role", "note");
    const problem = document.createElement("strong");
    problem.textContent = fault.problem;
    const remedy = document.createElement("span");
    remedy.textContent = fault.remedy;
    this.node.append(problem, remedy);
  }
}
