// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { PromotionBoard } from "../types";
import { PromotionPanel } from "./panel";
import type { Decision, Question } from "./source";
import { hindrance, news } from "./words";

const BOARD: PromotionBoard = {
  api: 1,
  revision: "1",
  project: "/p",
  model: "delays",
  alias: "production",
  candidate: "delays/3",
  champion: "delays/2",
  previous: "delays/1",
  earlier: ["delays/1"],
  you: "ada",
  actor: "jupyter:ada (os root)",
  named: true,
  aliases: ["production", "staging"],
  versions: [
    { ref: "delays/3", aliases: [], metrics: "auc 0.8", exporter: "onnx", created_at: "", created_by: "ada" },
    { ref: "delays/2", aliases: ["production"], metrics: "", exporter: "onnx", created_at: "", created_by: "ada" },
  ],
  numbers: [{ name: "auc", candidate: "0.8", champion: "0.7", difference: "+0.1", ahead: "candidate" }],
  verdicts: [{ gate: "auc >= 0.7", passed: true, sentence: "auc is 0.8, 0.1 above the limit 0.7." }],
  unjudged: "",
  approvals: [],
  approvals_needed: 0,
  refusal: "",
  no_rollback: "",
  no_approval: "",
  history: [
    {
      kind: "promote",
      from_ref: "delays/1",
      to_ref: "delays/2",
      at: "2026-03-03T10:11:12Z",
      by: "bob",
      reason: "<b>why</b>",
      failed: [],
    },
  ],
  waiting: [],
};
const FAILED = [{ gate: "auc >= 0.9", passed: false, sentence: "auc is 0.8, 0.1 below the limit 0.9." }];

/** Stands for the server: answers with `board`, keeps what was decided, and may refuse. */
class Fake {
  pause = 1000;
  board = BOARD;
  asked: Question[] = [];
  decided: Decision[] = [];
  refusal = "";

  look(question: Question): Promise<PromotionBoard> {
    this.asked.push({ ...question });
    return Promise.resolve(this.board);
  }
  revision(): Promise<string> {
    return Promise.resolve(this.board.revision);
  }
  decide(decision: Decision): Promise<void> {
    this.decided.push(decision);
    return this.refusal ? Promise.reject(new Error(this.refusal)) : Promise.resolve();
  }
  fault(error: unknown): { problem: string; remedy: string } {
    return { problem: (error as Error).message, remedy: "Look again." };
  }
}

const settled = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

describe("a promotion panel", () => {
  let source: Fake;
  let root: HTMLElement;
  let panel: PromotionPanel;

  beforeEach(async () => {
    vi.useFakeTimers();
    source = new Fake();
    root = document.body.appendChild(document.createElement("div"));
    Object.defineProperty(root, "offsetParent", { value: document.body });
    panel = new PromotionPanel(root, source, "delays", "");
    await settled();
  });
  afterEach(() => {
    panel.dispose();
    root.remove();
    vi.useRealTimers();
  });

  const button = (start: string): HTMLButtonElement => {
    const found = [...root.querySelectorAll("button")].find((one) => one.textContent?.startsWith(start));
    if (!found) {
      throw new Error(`no button ${start}`);
    }
    return found;
  };
  const status = (): string => root.querySelector("[role=status]")?.textContent ?? "";

  it("shows people's words as words", () => {
    expect(root.querySelector("b")).toBeNull();
    expect(root.textContent).toContain("<b>why</b>");
  });

  it("promotes what it shows against what it shows", async () => {
    button("Promote delays/3 to production").click();
    await settled();
    expect(source.decided).toEqual([
      {
        act: "promote",
        project: "/p",
        ref: "delays/3",
        alias: "production",
        reason: "",
        force: false,
        held: "delays/2",
      },
    ]);
    expect(status()).toBe("production: delays/2 → delays/3");
  });

  it("forces nothing once the choice is hidden, though it was ticked before", async () => {
    const force = root.querySelector<HTMLInputElement>("input[type=checkbox]") as HTMLInputElement;
    source.board = { ...BOARD, revision: "2", verdicts: FAILED };
    await vi.advanceTimersByTimeAsync(1100);
    force.checked = true;
    source.board = { ...BOARD, revision: "3" };
    await vi.advanceTimersByTimeAsync(1100);
    expect(force.closest("label")?.hidden).toBe(true);
    button("Promote").click();
    await settled();
    expect(source.decided[0]).toMatchObject({ act: "promote", force: false });
  });

  it("names the version that a rollback leads to", async () => {
    button("Roll back to delays/1").click();
    await settled();
    expect(source.decided[0]).toMatchObject({ act: "rollback", project: "/p", to: "delays/1", held: "delays/2" });
  });

  it("says a refusal, and still says it after it has looked again", async () => {
    source.refusal = "delays@production is delays/4 by now.";
    button("Promote").click();
    await settled();
    expect(status()).toBe("delays@production is delays/4 by now. Look again.");
    expect(button("Promote").disabled).toBe(false);
  });

  it("tells what somebody else has done, and keeps what was typed", async () => {
    const reason = root.querySelector<HTMLInputElement>("input[placeholder]");
    if (reason) {
      reason.value = "because";
    }
    const move = { ...BOARD.history[0], from_ref: "delays/2", to_ref: "delays/3" } as PromotionBoard["history"][0];
    source.board = { ...BOARD, revision: "2", champion: "delays/3", history: [move, ...BOARD.history] };
    await vi.advanceTimersByTimeAsync(1100);
    expect(status()).toBe("bob moved production: delays/2 → delays/3.");
    expect(reason?.value).toBe("because");
    expect(button("Promote").disabled).toBe(true);
  });

  it("asks nothing any more once it is disposed", async () => {
    panel.dispose();
    const count = source.asked.length;
    source.board = { ...BOARD, revision: "2" };
    await vi.advanceTimersByTimeAsync(60_000);
    expect(source.asked.length).toBe(count);
  });
});

describe("the words of a panel", () => {
  it("say why a promotion would not pass", () => {
    expect(hindrance(BOARD, false, "")).toBe("");
    expect(hindrance({ ...BOARD, verdicts: FAILED }, false, "")).toBe("A gate failed.");
    expect(hindrance({ ...BOARD, verdicts: FAILED }, true, " ")).toBe("Overriding a gate needs a reason.");
    expect(hindrance({ ...BOARD, verdicts: FAILED }, true, "now")).toBe("");
    expect(hindrance({ ...BOARD, refusal: "No." }, true, "now")).toBe("No.");
    expect(hindrance({ ...BOARD, champion: "delays/3" }, false, "")).toContain("already");
  });

  it("tell no news about another alias", () => {
    const moved = { ...BOARD, champion: "delays/3" };
    expect(news(BOARD, moved)).toContain("bob moved production");
    expect(news({ ...BOARD, alias: "staging" }, moved)).toBe("");
  });
});
