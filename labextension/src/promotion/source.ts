/** Where a promotion panel gets its board from, and where it sends what a person decides: a server, or a kernel. */
import type { ApproveRequest, Fault, PromoteRequest, PromotionBoard, RollbackRequest } from "../types";

export type Decision =
  | ({ act: "promote" } & Omit<PromoteRequest, "path">)
  | ({ act: "rollback" } & Omit<RollbackRequest, "path">)
  | ({ act: "approve" } & Omit<ApproveRequest, "path">);

/** What is looked at; an empty `alias` or `ref` leaves the choice to the other side. */
export interface Question {
  model: string;
  alias: string;
  ref: string;
}

export interface Source {
  /** Milliseconds between two looks at the revision. */
  readonly pause: number;
  look(question: Question): Promise<PromotionBoard>;
  revision(): Promise<string>;
  decide(decision: Decision): Promise<void>;
  /** What to tell a person about anything that one of these has thrown. */
  fault(error: unknown): Pick<Fault, "problem" | "remedy">;
}
