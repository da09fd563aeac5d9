/** Requests to mlnb's server extension: the only module that fetches. */
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";

import { eventData } from "./stream";
import type {
  CellText,
  Fault,
  MarksReply,
  PromotionBoard,
  PromotionRevision,
  RunAccepted,
  RunChange,
  RunRequest,
  RunSnapshot,
} from "./types";

/** The server's refusal: a status, and the two sentences. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly fault: Fault,
  ) {
    super(`${fault.problem} ${fault.remedy}`);
  }
}

/** The server extension, as asynchronous functions. */
export class Api {
  constructor(private readonly settings = ServerConnection.makeSettings()) {}

  /** What the given cells are marked as. */
  marks(cells: CellText[]): Promise<MarksReply> {
    return this.json("marks", "POST", { cells });
  }

  /** The newest run of a notebook that this server started, if any. */
  async newestRun(path: string): Promise<RunSnapshot | null> {
    const found = await this.json<RunSnapshot[]>(`runs?path=${encodeURIComponent(path)}`);
    return found[0] ?? null;
  }

  /** Start a run of a saved notebook. */
  startRun(request: RunRequest): Promise<RunAccepted> {
    return this.json("runs", "POST", request);
  }

  /** A run as it stands. */
  run(id: string): Promise<RunSnapshot> {
    return this.json(`runs/${id}`);
  }

  /** Cancel a run; resolves when its process has gone. */
  async cancelRun(id: string): Promise<void> {
    await this.request(`runs/${id}`, "DELETE");
  }

  /** What there is to decide about an alias. */
  promotion(path: string, question: { model: string; alias: string; ref: string }): Promise<PromotionBoard> {
    return this.json(`promotion?${new URLSearchParams({ path, ...question })}`);
  }

  /** Another text as soon as anything about the project's promotions is another. */
  promotionRevision(path: string): Promise<PromotionRevision> {
    return this.json(`promotion/revision?path=${encodeURIComponent(path)}`);
  }

  /** Promote, roll back or approve. */
  async decide(act: "promote" | "rollback" | "approve", request: { path: string }): Promise<void> {
    await this.request(act, "POST", request);
  }

  /** The changes of a run after `after`, until it ends or the connection breaks. */
  async *changes(id: string, after: number): AsyncGenerator<RunChange> {
    const response = await this.request(`runs/${id}/events?after=${after}`);
    if (response.body) {
      for await (const data of eventData(response.body)) {
        yield JSON.parse(data) as RunChange;
      }
    }
  }

  private async json<T>(path: string, method = "GET", body?: object): Promise<T> {
    const response = await this.request(path, method, body);
    return (await response.json()) as T;
  }

  private async request(path: string, method = "GET", body?: object): Promise<Response> {
    const url = URLExt.join(this.settings.baseUrl, "mlnb/api", path);
    const init = body ? { method, body: JSON.stringify(body) } : { method };
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    if (!response.ok) {
      throw new ApiError(response.status, await faultOf(response));
    }
    return response;
  }
}

/** What to tell a person about anything that was thrown. */
export function faultFrom(error: unknown): Fault {
  if (error instanceof ApiError) {
    return error.fault;
  }
  const problem =
    error instanceof ServerConnection.NetworkError
      ? "The Jupyter server does not answer."
      : `mlnb met an error that it does not know: ${String(error)}.`;
  return { problem, remedy: "Look whether it still runs, then reload the page.", stage: "", cell: 0, line: 0 };
}

async function faultOf(response: Response): Promise<Fault> {
  const said: unknown = await response.json().catch(() => null);
  if (said !== null && typeof said === "object" && "problem" in said && "remedy" in said) {
    return said as Fault;
  }
  const missing = response.status === 404;
  return {
    problem: missing
      ? "This server does not know mlnb."
      : `The server answered ${response.status} ${response.statusText}.`,
    remedy: missing
      ? "Run `jupyter server extension enable mlnb.faces.server` and restart it."
      : "Read the Jupyter server's log.",
    stage: "",
    cell: 0,
    line: 0,
  };
}
