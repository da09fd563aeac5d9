"""A secret in a live kernel: what the kernel says does not hold it."""

from __future__ import annotations

import json

TOKEN = "s3cret/tok'en"


def test_a_live_kernel_does_not_tell_a_secret_in_streams_displays_errors_or_widgets(new_kernel):
    kernel = new_kernel(env={"API_TOKEN": TOKEN})
    assert kernel.run("%load_ext mlnb\nfrom mlnb import secret\ntoken = secret('API_TOKEN')").status == "ok"
    said = [
        kernel.run("for letter in token:\n    print(letter, end='', flush=True)\nprint()\ntoken"),
        kernel.run("import logging; logging.getLogger().error(token); print(repr({'token': token}))"),
        kernel.run("%%capture out\nprint(token)"),
        kernel.run("print(out.stdout)\nfrom IPython.display import JSON, display\ndisplay(JSON({token: [token]}))"),
        kernel.run("import ipywidgets; ipywidgets.Text(value=token)"),
        kernel.run("def inner(x):\n    raise ValueError(x)\ninner(token)"),
        kernel.run("%xmode Verbose\ninner(token)"),
        kernel.run("%mlnb plan --help " + TOKEN.replace("'", "")),
    ]
    text = json.dumps([shown.outputs for shown in said])
    assert TOKEN not in text
    assert json.dumps(TOKEN)[1:-1] not in text
    assert text.count("[secret API_TOKEN]") >= 8
    assert said[0].text == "[secret API_TOKEN]\n"


def test_what_only_looks_like_the_beginning_of_a_secret_is_said_at_the_end_of_the_cell(new_kernel):
    kernel = new_kernel(env={"API_TOKEN": TOKEN})
    kernel.run("from mlnb import secret\ntoken = secret('API_TOKEN')")
    assert kernel.run("print('all is', 's3cre', end='')").text == "all is s3cre"
    assert kernel.run("print('next')").text == "next\n"
