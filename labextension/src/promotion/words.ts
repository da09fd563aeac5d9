/** What a person reads on the promotion panel, out of what the server or the kernel says. */
import type { AliasMove, PromotionBoard, PromotionVersion } from "../types";

const LONG_NAME = 24;

/** A time as an audit log has it, to the second and in UTC. */
export function moment(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)}Z`;
}

/** A version in the list of choices: its aliases and metrics say which one it is. */
export function choice(version: PromotionVersion): string {
  const aliases = version.aliases.length > 0 ? ` (${version.aliases.join(", ")})` : "";
  return `${version.ref}${aliases}${version.metrics ? `: ${version.metrics}` : ""}`;
}

/** What the panel is about, in one sentence. */
export function headline(board: PromotionBoard): string {
  const { alias, candidate, champion } = board;
  if (champion === "") {
    return `${candidate} would be the first ${alias}.`;
  }
  return candidate === champion ? `${champion} is ${alias} now.` : `${candidate} against ${champion}, ${alias} now.`;
}

/** Why the button that promotes would not do it; "" where it would. */
export function hindrance(board: PromotionBoard, force: boolean, reason: string): string {
  const failed = board.verdicts.filter((verdict) => !verdict.passed).length;
  if (board.candidate === board.champion) {
    return `${board.candidate} is ${board.alias} already: choose another version.`;
  }
  if (board.refusal) {
    return board.refusal;
  }
  if (board.unjudged && !force) {
    return board.unjudged;
  }
  if (failed > 0 && !force) {
    return failed === 1 ? "A gate failed." : `${failed} gates failed.`;
  }
  return force && reason.trim() === "" ? "Overriding a gate needs a reason." : "";
}

/** A version where the model is known: a long name is left out. */
export function brief(ref: string): string {
  const [model = "", number = ""] = ref.split("/");
  return model.length > LONG_NAME ? `…/${number}` : ref;
}

/** What a move did. */
export function moved(move: AliasMove): string {
  return `${brief(move.from_ref) || "nothing"} → ${brief(move.to_ref)}`;
}

/** What somebody else did between two looks, to be said aloud; "" where it is not about the alias. */
export function news(before: PromotionBoard, after: PromotionBoard): string {
  const newest = after.history[0];
  const same = before.model === after.model && before.alias === after.alias;
  if (!newest || !same || before.champion === after.champion) {
    return "";
  }
  const verb = newest.kind === "rollback" ? "rolled back" : "moved";
  return `${newest.by} ${verb} ${after.alias}: ${moved(newest)}.`;
}

/** How the approvals stand. */
export function approvalsText(board: PromotionBoard): string {
  const count = board.approvals.filter((approval) => approval.counts).length;
  const needed = board.approvals_needed;
  return needed > 0 ? `${count} of ${needed} needed` : "none needed";
}
