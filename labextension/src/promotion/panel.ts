/** The promotion panel: what there is to decide about an alias, and the buttons that decide it. */
import type { PromotionBoard } from "../types";
import { element, offer, write } from "./elements";
import { approvalList, historyTable, numbersTable, verdictList } from "./sections";
import type { Decision, Question, Source } from "./source";
import { choice, headline, hindrance, news } from "./words";

const LOOK_SELDOM_MS = 15_000; // while nobody answers
const ANOTHER = "another…";
let panels = 0;

export class PromotionPanel {
  private board: PromotionBoard | null = null;
  private busy = false;
  private lost = false;
  private asked = 0;
  private timer = 0;
  private readonly question: Question;
  private readonly id = `mlnb-promotion-${++panels}`;
  private readonly you = element("span", { class: "mlnb-Promotion-you" });
  private readonly alias = element("select");
  private readonly newAlias = element("input", { type: "text", "aria-label": "New name", maxlength: "64" });
  private readonly candidate = element("select");
  private readonly headline = element("p", { class: "mlnb-Promotion-headline" });
  private readonly facts = element("div", { class: "mlnb-Promotion-facts" });
  private readonly reason = element("input", { type: "text", placeholder: "kept in the audit log" });
  private readonly force = element("input", { type: "checkbox" });
  private readonly forced = element(
    "label",
    { class: "mlnb-Promotion-force" },
    this.force,
    " Promote although a gate failed",
  );
  private readonly promote = button("Promote", "mlnb-Promotion-primary");
  private readonly approve = button("Approve");
  private readonly hint = element("p", { class: "mlnb-Promotion-hint", id: `${this.id}-hint` });
  private readonly to = element("select");
  private readonly back = button("Roll back");
  private readonly backHint = element("p", { class: "mlnb-Promotion-hint", id: `${this.id}-back` });
  private readonly backRow = element("div", { class: "mlnb-Promotion-row" });
  private readonly status = element("p", { class: "mlnb-Promotion-status", role: "status", tabindex: "-1" });
  private readonly waiting = element("div", { class: "mlnb-Promotion-waiting" });
  private readonly historyTitle = element("summary", {}, "History");
  private readonly history = element("div", { class: "mlnb-Promotion-history", tabindex: "0", role: "group" });

  constructor(
    private readonly root: HTMLElement,
    private readonly source: Source,
    model: string,
    alias: string,
  ) {
    this.question = { model, alias, ref: "" };
    this.build();
    this.listen();
    void this.look();
    this.wait(this.source.pause);
  }

  /** Stop looking. */
  dispose(): void {
    window.clearTimeout(this.timer);
    window.removeEventListener("keydown", this.pressed, true);
    this.asked = -1;
  }

  private build(): void {
    const { model } = this.question;
    this.root.classList.add("mlnb-Promotion");
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-label", `Promotion of ${model}`);
    this.history.setAttribute("aria-label", "Moves"); // it scrolls, by the keyboard too
    this.promote.setAttribute("aria-describedby", this.hint.id);
    this.back.setAttribute("aria-describedby", this.backHint.id);
    this.newAlias.hidden = this.forced.hidden = this.approve.hidden = true;
    const title = element("div", { class: "mlnb-Promotion-title" }, element("strong", {}, model), this.you);
    const choices = element(
      "div",
      { class: "mlnb-Promotion-row" },
      field(this.id, "Alias", this.alias, this.newAlias),
      field(this.id, "Candidate", this.candidate),
    );
    const reason = field(this.id, "Reason", this.reason);
    reason.classList.add("mlnb-Promotion-reason");
    this.backRow.append(field(this.id, "Back to", this.to), this.back);
    this.root.replaceChildren(
      title,
      choices,
      this.headline,
      this.facts,
      element("div", { class: "mlnb-Promotion-row" }, reason),
      this.forced,
      element("div", { class: "mlnb-Promotion-row" }, this.promote, this.approve),
      this.hint,
      this.status,
      this.backRow,
      this.backHint,
      this.waiting,
      element("details", {}, this.historyTitle, this.history),
    );
    write(this.status, "Looking…");
    this.enable();
  }

  private listen(): void {
    window.addEventListener("keydown", this.pressed, true); // before Lumino, which listens at the document
    this.alias.onchange = () => {
      this.newAlias.hidden = this.alias.value !== ANOTHER;
      if (this.newAlias.hidden) {
        void this.look({ alias: this.alias.value, ref: this.candidate.value });
      } else {
        this.newAlias.focus();
      }
    };
    this.newAlias.onchange = () => {
      if (this.newAlias.value.trim()) {
        void this.look({ alias: this.newAlias.value.trim(), ref: this.candidate.value });
      }
    };
    this.candidate.onchange = () => void this.look({ ref: this.candidate.value });
    this.reason.oninput = this.force.onchange = this.to.onchange = () => this.enable();
    this.promote.onclick = () => void this.act("promote");
    this.approve.onclick = () => void this.act("approve");
    this.back.onclick = () => void this.act("rollback");
  }

  /** Keep a plain key from being a command of the notebook: B would add a cell. Ctrl+S still saves it. */
  private readonly pressed = ({ target, ctrlKey, metaKey, altKey }: KeyboardEvent): void => {
    if (target instanceof HTMLElement && this.root.contains(target)) {
      target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || metaKey || altKey));
    }
  };

  /** Ask for the board and draw it; only the newest question's answer counts. */
  private async look(chosen: Partial<Question> = {}): Promise<boolean> {
    const before = { ...this.question };
    Object.assign(this.question, chosen);
    const number = ++this.asked;
    const current = (): boolean => number === this.asked;
    try {
      const board = await this.source.look(this.question);
      if (current()) {
        this.show(board);
        this.lost = false;
      }
      return true;
    } catch (error) {
      if (current()) {
        Object.assign(this.question, before); // what cannot be looked at is not asked for every second
        this.say(error);
      }
      return false;
    }
  }

  /** Look now and then whether somebody else has done something. */
  private wait(pause: number): void {
    this.timer = window.setTimeout(async () => {
      let next = this.source.pause;
      if (this.root.isConnected && this.root.offsetParent !== null && !document.hidden && !this.busy) {
        next = (await this.refresh()) ? this.source.pause : LOOK_SELDOM_MS;
      }
      if (this.asked >= 0) {
        this.wait(next);
      }
    }, pause);
  }

  private async refresh(): Promise<boolean> {
    try {
      const revision = await this.source.revision();
      if (this.asked < 0 || this.busy || (revision === this.board?.revision && !this.lost)) {
        return true;
      }
    } catch (error) {
      this.lost = true;
      this.say(error);
      return false;
    }
    return this.look();
  }

  private async act(act: Decision["act"]): Promise<void> {
    const { board } = this;
    if (board === null || this.busy) {
      return;
    }
    this.busy = true;
    this.enable();
    this.tell("working", act === "rollback" ? "Rolling back…" : act === "approve" ? "Approving…" : "Promoting…");
    try {
      await this.source.decide(this.decision(act, board));
      this.reason.value = "";
      this.force.checked = false;
      this.tell("done", this.done(act, board));
    } catch (error) {
      this.say(error);
    }
    const said = { state: this.status.dataset["state"], text: this.status.textContent ?? "" };
    await this.look();
    this.busy = false;
    this.tell(said.state ?? "", said.text);
    this.enable();
    if (document.activeElement === document.body) {
      this.status.focus(); // the button that had it may be disabled by now
    }
  }

  private decision(act: Decision["act"], board: PromotionBoard): Decision {
    const { project, model, alias, candidate, champion } = board;
    const reason = this.reason.value.trim();
    if (act === "promote") {
      const force = this.force.checked && !this.forced.hidden; // nobody forces what they do not see
      return { act, project, ref: candidate, alias, reason, force, held: champion };
    }
    return act === "approve"
      ? { act, project, ref: candidate, alias, reason }
      : { act, project, model, alias, reason, to: this.to.value, held: champion };
  }

  private done(act: Decision["act"], { alias, candidate, champion }: PromotionBoard): string {
    if (act === "approve") {
      return `You approved ${candidate} for ${alias}.`;
    }
    return `${alias}: ${champion || "nothing"} → ${act === "promote" ? candidate : this.to.value}`;
  }

  private show(board: PromotionBoard): void {
    const told = this.board ? news(this.board, board) : "";
    const found = this.board === null || this.lost;
    this.board = board;
    Object.assign(this.question, { alias: board.alias, ref: board.candidate });
    if (told || found) {
      this.tell("", told);
    }
    write(this.you, board.named ? `You are ${board.you}` : `You act as ${board.you}`);
    this.you.title = board.named
      ? `The audit log writes ${board.actor}`
      : "One person is not known from another here: whoever has the token acts as the server's own user";
    const aliases = board.aliases.includes(board.alias) ? board.aliases : [...board.aliases, board.alias];
    offer(
      this.alias,
      [...aliases, ANOTHER].map((name) => [name, name] as const),
      board.alias,
    );
    this.newAlias.hidden = true;
    offer(
      this.candidate,
      board.versions.map((version) => [version.ref, choice(version)] as const),
      board.candidate,
    );
    write(this.headline, headline(board));
    const open = this.facts.querySelector("details")?.open ?? false;
    const facts = [numbersTable(board, open), verdictList(board)];
    const approving = board.approvals_needed > 0 || board.approvals.length > 0;
    this.facts.replaceChildren(...facts, ...(approving ? [approvalList(board)] : []));
    this.approve.hidden = !approving;
    this.approve.title = board.no_approval;
    this.approve.textContent = `Approve ${board.candidate}`;
    const kept = board.earlier.includes(this.to.value) ? this.to.value : board.previous || (board.earlier[0] ?? "");
    const fresh = told !== "" ? board.previous || kept : kept;
    offer(
      this.to,
      board.earlier.map((ref) => [ref, ref === board.previous ? `${ref} (the one before)` : ref] as const),
      fresh,
    );
    this.backRow.hidden = board.earlier.length === 0;
    this.waiting.replaceChildren(...board.waiting.map((sentence) => element("p", {}, sentence)));
    write(this.historyTitle, `History of ${board.alias} (${board.history.length})`);
    this.history.replaceChildren(historyTable(board.history));
    this.enable();
  }

  /** Say what each button would do, and why it would not. */
  private enable(): void {
    const { board } = this;
    const failed = board?.verdicts.some((verdict) => !verdict.passed) || Boolean(board?.unjudged);
    this.forced.hidden = !failed || board?.candidate === board?.champion;
    const why = board ? hindrance(board, this.force.checked && !this.forced.hidden, this.reason.value) : "";
    this.promote.textContent = board ? `Promote ${board.candidate} to ${board.alias}` : "Promote";
    this.promote.disabled = board === null || this.busy || why !== "";
    write(this.hint, why);
    this.approve.disabled = this.busy || Boolean(board?.no_approval);
    this.back.textContent = this.to.value ? `Roll back to ${this.to.value}` : "Roll back";
    this.back.disabled = board === null || this.busy || this.to.value === "" || board.no_rollback !== "";
    write(this.backHint, this.backRow.hidden ? "" : (board?.no_rollback ?? ""));
  }

  private say(error: unknown): void {
    const { problem, remedy } = this.source.fault(error);
    this.tell("failed", `${problem} ${remedy}`);
  }

  private tell(state: string, text: string): void {
    this.status.dataset["state"] = state;
    write(this.status, text);
  }
}

function button(text: string, className = ""): HTMLButtonElement {
  return element("button", { type: "button", class: `mlnb-Promotion-button ${className}`.trim() }, text);
}

/** A control under its name; what stands beside it is part of the same choice. */
function field(id: string, name: string, control: HTMLElement, ...beside: HTMLElement[]): HTMLElement {
  control.id = `${id}-${name.toLowerCase().replaceAll(" ", "-")}`;
  return element(
    "div",
    { class: "mlnb-Promotion-field" },
    element("label", { for: control.id }, name),
    control,
    ...beside,
  );
}
