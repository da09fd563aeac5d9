/** Elements of a page, made of their attributes and children: texts stay texts, whatever people wrote into them. */
type Child = Node | string;

/** Make an element; an attribute that is false is left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | boolean>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children);
  return node;
}

/** Write a text where it is another one; so nothing is read aloud twice. */
export function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
  node.hidden = text === "";
}

/** Give a list of choices other options, and keep what is chosen where it still can be. */
export function offer(select: HTMLSelectElement, options: readonly (readonly [string, string])[], value: string): void {
  const old = Array.from(select.options, (option) => `${option.value}\n${option.text}`).join("\n");
  if (old !== options.map(([key, text]) => `${key}\n${text}`).join("\n")) {
    select.replaceChildren(...options.map(([key, text]) => element("option", { value: key }, text)));
  }
  if (select.value !== value) {
    select.value = value;
  }
}
