/** The kernel of a widget becomes the source of its panel: questions and acts are messages, and each has one answer. */
import type { Fault, PromotionBoard, PromotionRevision } from "../types";
import type { Decision, Question, Source } from "./source";

const PATIENCE_MS = 60_000; // judging a large model takes a while; a kernel that was restarted never answers

/** What anywidget hands to a widget. */
export interface Model {
  get(name: string): unknown;
  send(message: object): void;
  on(event: "msg:custom", listener: (message: Answer) => void): void;
  off(event: "msg:custom", listener: (message: Answer) => void): void;
}

interface Answer {
  id: string;
  answer?: unknown;
  fault?: Fault;
}

class Silent extends Error {}

class Refused extends Error {
  constructor(readonly fault: Fault) {
    super(fault.problem);
  }
}

export class KernelSource implements Source {
  readonly pause = 5000; // each look makes the kernel busy for a moment, which its indicator shows

  private readonly name = Math.random().toString(36).slice(2); // several pages may show one widget
  private count = 0;
  private readonly waiting = new Map<string, (answer: Answer) => void>();

  constructor(private readonly model: Model) {
    model.on("msg:custom", this.answered);
  }

  dispose(): void {
    this.model.off("msg:custom", this.answered);
  }

  look(question: Question): Promise<PromotionBoard> {
    return this.ask("look", question);
  }

  async revision(): Promise<string> {
    return (await this.ask<PromotionRevision>("revision", {})).revision;
  }

  async decide({ act, ...rest }: Decision): Promise<void> {
    await this.ask(act, rest);
  }

  fault(error: unknown): Pick<Fault, "problem" | "remedy"> {
    if (error instanceof Silent) {
      return {
        problem: "The kernel has not answered for a minute.",
        remedy: "If it is busy, it does so later: look at the history then. If it was restarted, run the cell again.",
      };
    }
    return error instanceof Refused
      ? error.fault
      : { problem: `mlnb met an error that it does not know: ${String(error)}.`, remedy: "Run the cell again." };
  }

  private ask<T>(ask: string, words: object): Promise<T> {
    const id = `${this.name}-${++this.count}`;
    return new Promise<T>((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.waiting.delete(id);
        reject(new Silent());
      }, PATIENCE_MS);
      this.waiting.set(id, ({ answer, fault }) => {
        window.clearTimeout(timer);
        return fault ? reject(new Refused(fault)) : resolve(answer as T);
      });
      this.model.send({ ...words, id, ask });
    });
  }

  private readonly answered = (answer: Answer): void => {
    this.waiting.get(answer.id)?.(answer); // other views of the same widget hear it, too
    this.waiting.delete(answer.id);
  };
}
