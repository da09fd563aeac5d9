/** The parts of a promotion panel that are only read: numbers, verdicts, approvals, history. */
import type { AliasMove, ComparedNumber, GateVerdict, GivenApproval, PromotionBoard } from "../types";
import { element } from "./elements";
import { approvalsText, brief, moment, moved } from "./words";

const NUMBERS_SHOWN = 8;
const AHEAD = { candidate: "better", champion: "worse", neither: "same", "": "" } as const;

/** The candidate's numbers beside the champion's; what is more than a few waits for a click. */
export function numbersTable({ numbers, candidate, champion }: PromotionBoard, open: boolean): HTMLElement {
  const compared = champion !== "" && champion !== candidate;
  const names = compared ? ["number", brief(candidate), brief(champion), "difference"] : ["number", brief(candidate)];
  const table = (shown: readonly ComparedNumber[], caption: string): HTMLElement =>
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...shown.map((number) => numberRow(number, compared))),
    );
  const first = table(numbers.slice(0, NUMBERS_SHOWN), compared ? "Candidate and champion" : "Measured");
  const rest = numbers.slice(NUMBERS_SHOWN);
  if (rest.length === 0) {
    return element("div", {}, first);
  }
  const more = element("summary", {}, `${rest.length} more numbers`);
  return element("div", {}, first, element("details", { open }, more, table(rest, "")));
}

/** What the gates found, and on what. */
export function verdictList({ verdicts, candidate, unjudged }: PromotionBoard): HTMLElement {
  const title = element("p", { class: "mlnb-Promotion-caption" }, `Gates of ${brief(candidate)}`);
  if (verdicts.length === 0) {
    return element("div", {}, title, element("p", {}, unjudged || "There is no gate to pass."));
  }
  return element("div", {}, title, element("ul", {}, ...verdicts.map(verdictItem)));
}

/** Who has approved. */
export function approvalList(board: PromotionBoard): HTMLElement {
  const title = `Approvals of ${brief(board.candidate)} for ${board.alias}: ${approvalsText(board)}`;
  return element(
    "div",
    { class: "mlnb-Promotion-approvals" },
    element("p", { class: "mlnb-Promotion-caption" }, title),
    element("ul", {}, ...board.approvals.map(approvalItem)),
  );
}

/** Every move of the alias, the newest first. */
export function historyTable(history: readonly AliasMove[]): HTMLElement {
  const head = ["when", "what", "who", "why"].map((name) => element("th", { scope: "col" }, name));
  const rows = history.map((move) =>
    element(
      "tr",
      {},
      element("td", { class: "mlnb-Promotion-when" }, element("time", { datetime: move.at }, moment(move.at))),
      element(
        "td",
        { class: "mlnb-Promotion-when" },
        move.kind === "rollback" ? `${moved(move)} (rolled back)` : moved(move),
      ),
      element("td", {}, move.by),
      element("td", { class: "mlnb-Promotion-why" }, ...why(move)),
    ),
  );
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function numberRow(number: ComparedNumber, compared: boolean): HTMLElement {
  const cells = [element("th", { scope: "row" }, number.name), element("td", {}, number.candidate || "–")];
  if (compared) {
    const word = AHEAD[number.ahead];
    const text = [number.difference, word].filter(Boolean).join(" ");
    cells.push(element("td", {}, number.champion || "–"), element("td", { "data-ahead": number.ahead }, text));
  }
  return element("tr", {}, ...cells);
}

function verdictItem(verdict: GateVerdict): HTMLElement {
  const word = verdict.passed ? "passed" : "failed";
  return element(
    "li",
    { "data-state": word },
    element("span", { class: "mlnb-Promotion-sign", role: "img", "aria-label": word }, verdict.passed ? "✓" : "✗"),
    element("span", {}, element("code", {}, verdict.gate), ": ", verdict.sentence),
  );
}

function approvalItem(approval: GivenApproval): HTMLElement {
  const why = approval.reason ? `: ${approval.reason}` : "";
  const note = approval.counts ? "" : " (does not count: registered it, or approved before)";
  return element(
    "li",
    { "data-state": approval.counts ? "passed" : "idle" },
    element("span", { class: "mlnb-Promotion-sign", "aria-hidden": "true" }, approval.counts ? "✓" : "–"),
    element("span", {}, `${approval.by}, ${moment(approval.at)}${why}${note}`),
  );
}

function why(move: AliasMove): (Node | string)[] {
  const told = move.failed.map((sentence) => element("div", { "data-state": "failed" }, `✗ although ${sentence}`));
  return [move.reason, ...told];
}
