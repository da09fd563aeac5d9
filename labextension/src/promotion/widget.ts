/** The promotion panel of front ends without mlnb's server extension (VS Code, Colab): an anywidget that asks its kernel. */
import style from "../../style/promotion.css?inline";
import { KernelSource, type Model } from "./kernel";
import { PromotionPanel } from "./panel";

export default {
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const source = new KernelSource(model);
    el.appendChild(document.createElement("style")).textContent = style;
    const root = el.appendChild(document.createElement("div"));
    const panel = new PromotionPanel(root, source, String(model.get("model")), String(model.get("alias")));
    return () => {
      panel.dispose();
      source.dispose();
    };
  },
};
