"""The script of the page that tries a service: it draws the form from the OpenAPI document, asks, shows the answer."""

from __future__ import annotations

SCRIPT = r"""
"use strict";
const $ = (id) => document.getElementById(id);
const make = (tag, given = {}, ...inside) => {
  const { className = "", ...rest } = given, node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(rest)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
};
let spec = null, target = null, fields = [], shown = 0, raw = false;

const deref = (value) => value && value.$ref
  ? value.$ref.split("/").slice(1).reduce((at, name) => at[name], spec) : value;
const headers = () => {
  const token = $("token").value.trim();
  return { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
};
const here = (path) => new URL(path.replace(/^\//, ""), location.href).href;

function targets() {
  const found = [{ label: "default", path: "/predict", suffix: "" }];
  for (const [path, item] of Object.entries(spec.paths)) {
    const named = /^\/aliases\/([^/]+)\/predict$/.exec(path);
    if (!named) continue;
    const name = deref(item.post.requestBody.content["application/json"].schema.$ref.split("/").pop());
    const suffix = name.replace("Predict", "");
    const aliases = named[1] === "{alias}" ? item.parameters[0].schema.enum : [named[1]];
    for (const one of aliases) found.push({ label: one, path: `/aliases/${one}/predict`, suffix });
  }
  return found;
}

function examples() {
  const item = spec.paths[target.path] || spec.paths["/predict"];
  const media = item.post.requestBody.content["application/json"];
  return media.examples ? media.examples.rows.value.rows : [{}];
}

function field(name, schema, example) {
  const kinds = [].concat(schema.type), missing = kinds.includes("null") || false;
  const kind = kinds[0], id = `field-${fields.length}`, hint = `${id}-hint`;
  const words = [schema.description || "", missing ? "May be left empty." : ""].filter(Boolean).join(" ");
  const known = schema.examples || [];
  const type = { number: "number", integer: "whole number", boolean: "yes or no", array: "list",
    string: schema.format ? "date and time" : "text" }[kind];
  let input;
  if (kind === "boolean" || (known.length && kind !== "array")) {
    const options = kind === "boolean" ? [true, false] : known;
    input = make("select", {}, ...options.map((one) => make("option", { value: JSON.stringify(one) }, String(one))));
    if (missing) input.append(make("option", { value: "null" }, "(missing)"));
  } else {
    input = make("input", { type: "text", autocomplete: "off", spellcheck: "false" });
    if (kind === "number" || kind === "integer") input.setAttribute("inputmode", "decimal");
    if (schema.format) input.placeholder = "2026-01-31T08:00:00Z";
  }
  input.id = id;
  input.setAttribute("aria-describedby", hint);
  const write = (value) => {
    if (input.tagName === "SELECT") input.value = JSON.stringify(value === undefined ? known[0] ?? true : value);
    else input.value = value === null || value === undefined ? "" : kind === "array" ? JSON.stringify(value) : value;
  };
  const read = () => {
    const text = input.value;
    if (input.tagName === "SELECT") return JSON.parse(text);
    if (text === "" && missing) return null;
    if (kind === "string") return text;
    const value = kind === "array" ? JSON.parse(text) : text.trim() === "" ? NaN : Number(text);
    if (kind !== "array" && !Number.isFinite(value)) throw new Error(`${name} must be a ${type}.`);
    if (kind === "array" && !Array.isArray(value)) throw new Error(`${name} must be a list, such as [1, 2].`);
    return value;
  };
  write(example);
  input.addEventListener("input", () => { input.removeAttribute("aria-invalid"); curl(); });
  fields.push({ name, input, read, write });
  return make("div", { className: kind === "array" ? "wide" : "" },
    make("label", { for: id }, name, " ", make("span", { className: "quiet" }, type)),
    input, make("span", { className: "hint", id: hint }, words));
}

function draw() {
  const row = spec.components.schemas[`Row${target.suffix}`], example = examples()[shown] || {};
  fields = [];
  const choice = make("select", { id: "target" }, ...targets().map((one) => make("option", {}, one.label)));
  choice.value = target.label;
  choice.addEventListener("change", () => {
    target = targets().find((one) => one.label === choice.value);
    shown = 0;
    draw();
    $("target").focus();
  });
  const drawn = Object.entries(row.properties).map(([name, schema]) => field(name, schema, example[name]));
  const route = make("div", { className: "wide" }, make("label", { for: "target" }, "Alias"), choice);
  $("fields").replaceChildren(...(targets().length > 1 ? [route] : []), ...drawn);
  $("next").hidden = examples().length < 2;
  if (raw) $("body").value = JSON.stringify({ rows: [example] }, null, 2);
  curl();
}

function body() {
  if (raw) return JSON.parse($("body").value);
  const row = {};
  for (const one of fields) {
    try {
      row[one.name] = one.read();
    } catch (error) {
      one.input.setAttribute("aria-invalid", "true");
      one.input.focus();
      throw error instanceof SyntaxError ? new Error(`${one.name} must be a list, such as [1, 2].`) : error;
    }
  }
  return { rows: [row] };
}

function curl() {
  let text;
  try {
    const row = () => Object.fromEntries(fields.map((one) => [one.name, one.read()]));
    text = raw ? $("body").value : JSON.stringify({ rows: [row()] });
  } catch {
    text = "...";
  }
  const token = $("token").value ? ' -H "Authorization: Bearer $TOKEN"' : "";
  const data = `'${text.replaceAll("'", "'\\''")}'`;
  const kind = '-H "Content-Type: application/json"';
  $("curl").textContent = `curl ${here(target.path)}${token} \\\n  ${kind} \\\n  -d ${data}`;
}

const plain = (value) => typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(6))
  : Array.isArray(value) ? value.map(plain).join(", ") : String(value);

function bars(names, values) {
  const grid = make("div", { className: "bars" }), top = Math.max(...values.map(Math.abs), 1e-12);
  const share = values.every((one) => one >= 0 && one <= 1);
  names.forEach((name, at) => {
    const fill = make("i");
    fill.style.width = `${100 * Math.max(0, values[at]) / (share ? 1 : top)}%`;
    const told = share ? `${(100 * values[at]).toFixed(1)} %` : plain(values[at]);
    grid.append(make("span", {}, String(name)), make("div", { className: "bar", "aria-hidden": "true" }, fill),
      make("span", { className: "num" }, told));
  });
  return grid;
}

function drawn(told) {
  const first = told.predictions[0], out = [make("div", { className: "answer" }, plain(first))];
  const items = spec.components.schemas[`Answer${target.suffix}`].properties.predictions.items;
  const names = items.enum || items["x-names"] || [];
  const chances = told.probabilities && told.probabilities[0], scores = told.scores && told.scores[0];
  if (chances && names.length === chances.length && !Array.isArray(chances[0])) out.push(bars(names, chances));
  else if (scores) out.push(bars(first, scores));
  else if (names.length && Array.isArray(first)) out.push(bars(names, first.map(Number)));
  if (told.predictions.length > 1)
    out.push(make("p", { className: "quiet" }, `The first of ${told.predictions.length} rows.`));
  return out;
}

async function ask(event) {
  event.preventDefault();
  const out = $("answer");
  let text;
  try {
    text = JSON.stringify(body());
  } catch (error) {
    out.replaceChildren(make("p", { className: "bad" }, error.message));
    return;
  }
  $("send").disabled = true;
  const began = performance.now();
  try {
    const response = await fetch(here(target.path), { method: "POST", headers: headers(), body: text });
    const told = await response.json(), took = performance.now() - began;
    if (response.status === 401) $("access").hidden = false;
    const seen = `${response.status} ${response.statusText}`.trim();
    const line = make("p", { className: "quiet" },
      make("span", { className: `status ${response.ok ? "good" : "bad"}` }, seen),
      ` in ${took.toFixed(took < 10 ? 1 : 0)} ms`, told.version ? ` by ${told.version}` : "");
    const error = told.error && [make("p", { className: "bad" }, told.error.problem || String(told.error)),
      make("p", {}, told.error.remedy || ""),
      make("ul", {}, ...(told.error.faults || []).map((one) => make("li", {}, one)))];
    const json = make("pre", { tabindex: "0", "aria-label": "The answer as JSON" }, JSON.stringify(told, null, 2));
    out.replaceChildren(...(error || drawn(told)), line, json);
  } catch (error) {
    out.replaceChildren(make("p", { className: "bad" }, `The service did not answer: ${error.message}.`));
  } finally {
    $("send").disabled = false;
  }
}

function routes() {
  const groups = new Map((spec.tags || []).map((one) => [one.name, { told: one.description, rows: [] }]));
  for (const [path, item] of Object.entries(spec.paths))
    for (const method of ["get", "post"])
      if (item[method]) groups.get(item[method].tags[0]).rows.push([method, path, item[method]]);
  for (const [name, { told, rows }] of groups) {
    if (!rows.length) continue;
    $("routes").append(make("h3", {}, name), make("p", { className: "quiet" }, told));
    for (const [method, path, operation] of rows) {
      const inside = make("div");
      for (const [media, one] of Object.entries((operation.requestBody || { content: {} }).content)) {
        const sample = one.examples && Object.values(one.examples)[0].value;
        if (sample) inside.append(make("p", { className: "quiet" }, media),
          make("pre", { tabindex: "0" }, JSON.stringify(sample, null, 1)));
      }
      const codes = Object.entries(operation.responses).map(([code, one]) =>
        make("tr", {}, make("td", {}, make("b", {}, code)), make("td", {}, deref(one).description)));
      inside.append(make("table", { "aria-label": `Answers of ${path}` }, make("tbody", {}, ...codes)));
      $("routes").append(make("details", {}, make("summary", {},
        make("span", { className: `method ${method}` }, method.toUpperCase()), make("code", {}, path),
        make("span", { className: "quiet" }, operation.summary)), inside));
    }
  }
}

function mode(json) {
  if (json && !raw) {
    try { $("body").value = JSON.stringify(body(), null, 2); } catch { $("body").value = '{"rows": [{}]}'; }
  }
  raw = json;
  $("raw").hidden = !json;
  $("fields").hidden = json;
  $("as-json").setAttribute("aria-pressed", String(json));
  $("as-form").setAttribute("aria-pressed", String(!json));
  curl();
}

async function load() {
  const response = await fetch(here("openapi.json"), { headers: headers() });
  $("access").hidden = response.status !== 401;
  if (!response.ok) throw new Error(`the service answered ${response.status} to openapi.json`);
  spec = await response.json();
  $("problem").hidden = true;
  $("name").textContent = document.title = spec.info.title;
  $("version").textContent = `version ${spec.info.version}`;
  $("about").textContent = spec.info.summary;
  if (spec.components.securitySchemes) $("access").hidden = false;
  target = targets()[0];
  $("routes").replaceChildren();
  draw();
  routes();
}

const start = () => load().catch((error) => {
  $("problem").textContent = `There is nothing to try: ${error.message}.`;
  $("problem").hidden = false;
});
$("ask").addEventListener("submit", ask);
$("access").addEventListener("submit", (event) => { event.preventDefault(); start(); });
$("token").addEventListener("input", () => target && curl());
$("body").addEventListener("input", curl);
$("as-form").addEventListener("click", () => mode(false));
$("as-json").addEventListener("click", () => mode(true));
$("next").addEventListener("click", () => {
  shown = (shown + 1) % examples().length;
  const example = examples()[shown];
  for (const one of fields) one.write(example[one.name]);
  if (raw) $("body").value = JSON.stringify({ rows: [example] }, null, 2);
  curl();
});
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("curl").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});
$("copy").hidden = !navigator.clipboard;
start();
"""
