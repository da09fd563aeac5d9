"""A service becomes the page that tries it, ``GET /docs``: its form, answer and curl line are drawn from /openapi.json.

The page is whole in itself: no file beside it, no other host. Its policy lets run just the script and the style that
are in it, named by their digests, and connect to nothing but the service; all text from outside is set as text.

Sources: Content Security Policy Level 3; WAI-ARIA 1.2, live regions; WCAG 2.2 AA for contrast and focus.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from html import escape

from mlnb.service.docs_script import SCRIPT

_STYLE = """
:root { color-scheme: light dark; --ground: #f4f6f9; --card: #fff; --line: #dbe2ea; --text: #1f2937; --quiet: #556274;
  --accent: #1d4ed8; --onaccent: #fff; --soft: #eff4ff; --good: #166534; --bad: #b91c1c; --code: #f8fafc; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f141b; --card: #181f29; --line: #2f3a48; --text: #e5e9ef;
  --quiet: #a3afbf; --accent: #8ab4ff; --onaccent: #0b1626; --soft: #1d2a40; --good: #86e0a3; --bad: #ff9c94;
  --code: #121820; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 64px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; margin: 0 0 18px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; } h2 { font-size: 17px; margin: 0 0 12px; }
h3 { font-size: 13px; margin: 22px 0 6px; color: var(--quiet); text-transform: uppercase; letter-spacing: .05em; }
.quiet { color: var(--quiet); } .pill { background: var(--soft); color: var(--accent); border-radius: 99px;
  padding: 1px 11px; font-size: 13px; font-weight: 600; }
.try { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 18px; align-items: start; }
@media (max-width: 860px) { .try { grid-template-columns: minmax(0, 1fr); } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin: 0 0 18px; }
.fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 14px 16px; }
.wide { grid-column: 1 / -1; }
label { display: block; font-weight: 600; font-size: 14px; } label .quiet { font-weight: 400; font-size: 12px; }
.hint { display: block; font-size: 12px; color: var(--quiet); min-height: 1.5em; }
input, select, textarea { width: 100%; margin-top: 3px; padding: 7px 10px; font: inherit; color: var(--text);
  background: var(--code); border: 1px solid #8793a3; border-radius: 8px; }
textarea, pre, code { font: 13px/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
textarea { min-height: 15em; resize: vertical; }
[aria-invalid="true"] { border-color: var(--bad); outline: 1px solid var(--bad); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
button { font: inherit; font-weight: 600; padding: 8px 16px; border-radius: 8px; border: 1px solid var(--line);
  background: var(--card); color: var(--text); cursor: pointer; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--onaccent); }
button:disabled { opacity: .55; cursor: progress; }
.row { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 18px; }
.top { display: flex; flex-wrap: wrap; gap: 10px 16px; justify-content: space-between; align-items: start; }
.top h2 { margin: 4px 0 12px; } .top .row { margin: 0 0 12px; }
button[aria-pressed="true"] { background: var(--soft); color: var(--accent); border-color: var(--accent); }
.answer { font-size: 30px; font-weight: 700; letter-spacing: -.02em; overflow-wrap: anywhere; line-height: 1.25; }
.bars { display: grid; grid-template-columns: minmax(0, max-content) 1fr 4.5em; gap: 7px 12px; margin: 14px 0 4px;
  align-items: center; font-size: 14px; }
.bar { height: 10px; border-radius: 5px; background: var(--soft); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); border-radius: 5px; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; margin: 6px 0 0;
  overflow: auto; max-height: 22em; white-space: pre-wrap; overflow-wrap: anywhere; }
.bad { color: var(--bad); } .good { color: var(--good); } .status { font-weight: 600; }
details { border-top: 1px solid var(--line); } details > div { padding: 2px 0 16px; }
summary { padding: 9px 4px; cursor: pointer; display: flex; gap: 12px; flex-wrap: wrap; align-items: baseline; }
summary::-webkit-details-marker { display: none; } summary code { font-weight: 600; overflow-wrap: anywhere; }
.method { font: 700 11px/1 ui-monospace, Menlo, Consolas, monospace; width: 44px; color: var(--good); }
.method.post { color: var(--accent); } a { color: var(--accent); } .skip { position: absolute; left: -999px; }
.skip:focus { left: 12px; top: 8px; background: var(--card); padding: 6px 12px; border-radius: 8px; }
table { border-collapse: collapse; font-size: 13px; width: 100%; } td { border-top: 1px solid var(--line);
  padding: 4px 10px 4px 0; vertical-align: top; } tr:first-child td { border-top: 0; }
[hidden] { display: none !important; }
"""
_BODY = """
<a class="skip" href="#ask">Skip to the form</a>
<main>
<header><h1 id="name"></h1><span class="pill" id="version"></span><span class="quiet" id="about"></span></header>
<p id="problem" class="bad" role="alert" hidden></p>
<form id="access" class="card" hidden aria-labelledby="access-title"><h2 id="access-title">Access</h2>
<label for="token">Bearer token <span class="quiet">kept by this page only</span></label>
<input id="token" type="password" autocomplete="off" spellcheck="false">
<div class="row"><button>Use it</button></div></form>
<div class="try">
<form id="ask" class="card" aria-labelledby="ask-title" novalidate>
<div class="top"><h2 id="ask-title">Ask</h2><div class="row" role="group" aria-label="How to write the question">
<button type="button" id="as-form" aria-pressed="true">Form</button>
<button type="button" id="as-json" aria-pressed="false">JSON</button></div></div>
<div class="fields" id="fields"></div>
<div id="raw" hidden><label for="body">Body of the request</label>
<textarea id="body" spellcheck="false"></textarea></div>
<div class="row"><button class="main" id="send">Send</button>
<button type="button" id="next">Another example</button></div>
</form>
<div><section class="card" aria-labelledby="answer-title"><h2 id="answer-title">Answer</h2>
<div id="answer" aria-live="polite"><p class="quiet">Send the row to see what the model answers.</p></div></section>
<section class="card" aria-labelledby="curl-title"><div class="top"><h2 id="curl-title">The same with curl</h2>
<div class="row"><button type="button" id="copy">Copy</button></div></div><pre id="curl" tabindex="0"></pre></section>
</div></div>
<section class="card" aria-labelledby="routes-title"><div class="top"><h2 id="routes-title">All routes</h2>
<a href="openapi.json">openapi.json</a></div><div id="routes"></div></section>
<noscript>This page needs scripts; <a href="openapi.json">openapi.json</a> says the same.</noscript>
</main>
"""


@lru_cache(maxsize=4)
def page(model: str) -> tuple[bytes, str]:
    """Return the page and its Content-Security-Policy."""
    html = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(model)}</title><style>{_STYLE}</style></head>'
        f"<body>{_BODY}<script>{SCRIPT}</script></body></html>\n"
    )
    policy = (
        f"default-src 'none'; script-src {_digest(SCRIPT)}; style-src {_digest(_STYLE)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
