/** An output that tells of a model becomes its promotion panel, which asks the server and needs no kernel. */
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { Widget } from "@lumino/widgets";

import { type Api, faultFrom } from "../api";
import type { Fault, PromotionBoard } from "../types";
import { PromotionPanel } from "./panel";
import type { Decision, Question, Source } from "./source";

export const PROMOTION = "application/vnd.mlnb.promotion+json";
const BEFORE_WIDGETS = -20; // theirs is -10

type Renderers = NotebookPanel["content"]["rendermime"];
type MimeModel = Parameters<ReturnType<Renderers["createRenderer"]>["renderModel"]>[0];

/** Teach a notebook to show promotion panels. */
export function addPromotion(panel: NotebookPanel, api: Api): void {
  panel.content.rendermime.addFactory(
    {
      safe: false,
      mimeTypes: [PROMOTION],
      createRenderer: () => new RenderedPromotion((project) => new ServerSource(api, panel.context, project)),
    },
    BEFORE_WIDGETS,
  );
}

class RenderedPromotion extends Widget {
  private panel: PromotionPanel | null = null;

  constructor(private readonly source: (project: string) => Source) {
    super();
  }

  renderModel(model: MimeModel): Promise<void> {
    const said = (model.data[PROMOTION] ?? {}) as Record<string, unknown>;
    const text = (name: string): string => (typeof said[name] === "string" ? said[name] : "");
    this.panel?.dispose();
    this.panel = new PromotionPanel(this.node, this.source(text("project")), text("model"), text("alias"));
    return Promise.resolve();
  }

  override dispose(): void {
    this.panel?.dispose();
    super.dispose();
  }
}

/** The server extension, asked as whoever is logged in; about the notebook's project, if that is what was displayed. */
class ServerSource implements Source {
  readonly pause = 1000;

  constructor(
    private readonly api: Api,
    private readonly context: DocumentRegistry.Context,
    private readonly project: string,
  ) {}

  async look(question: Question): Promise<PromotionBoard> {
    const board = await this.api.promotion(this.context.path, question);
    if (board.project !== this.project) {
      throw new OtherProject(this.project, board.project);
    }
    return board;
  }

  async revision(): Promise<string> {
    return (await this.api.promotionRevision(this.context.path)).revision;
  }

  decide({ act, ...rest }: Decision): Promise<void> {
    return this.api.decide(act, { path: this.context.path, ...rest });
  }

  fault(error: unknown): Pick<Fault, "problem" | "remedy"> {
    return error instanceof OtherProject ? error : faultFrom(error);
  }
}

class OtherProject extends Error {
  readonly problem: string;
  readonly remedy = "Run the cell again, in the notebook of the project that you mean.";

  constructor(displayed: string, found: string) {
    super();
    this.problem = `This shows the project ${displayed}, but the notebook belongs to ${found}.`;
  }
}
