"""People are told by every channel that is declared, through real servers; one that fails keeps nobody from the rest."""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from mlnb.errors import SettingsError
from mlnb.project import Project
from mlnb.registry.canonical import utc_now
from mlnb.registry.outbox import enqueue
from tests.unit.faces.conftest import Mlnb
from tests.unit.notify.conftest import PASSWORD, USER, Post_office, Receiver

KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def declare(project: Project, text: str) -> Project:
    """Write the tables into pyproject.toml; return the project as a new process sees it."""
    (project.root / "pyproject.toml").write_text(f"[tool.mlnb]\n{text}")
    project.ledger.close()
    return Project(project.root)


def happen(project: Project, event: str, text: str, model: str = "delays") -> None:
    """Let something happen to a model of which people are told."""
    with project.effects.planned(model, event) as effects, project.ledger.write() as connection:
        enqueue(connection, utc_now(), model, effects, {"event": event, "text": text, "model": model})
    project.effects.deliver()


def test_a_signed_message_can_be_verified_by_whoever_has_the_key(
    project: Project, receiver: Receiver, mlnb: Mlnb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", KEY)
    made = declare(
        project, f'[tool.mlnb.notify.ops]\nkind = "webhook"\nurl = "{receiver.url}/hook"\nsigning_secret = "HOOK_KEY"\n'
    )
    assert "is allowed from now on" in mlnb("doctor", "--allow", "ops").out
    receiver.statuses = [503]
    happen(made, "alarm", "delays drifted")
    while made.outbox.waiting():
        made.effects.deliver()
    made.ledger.close()
    first, second = receiver.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == second.headers["Idempotency-Key"]
    for post in receiver.posts:
        at = post.headers["webhook-timestamp"]
        assert abs(int(at) - time.time()) < 300
        check = HMAC(bytes(range(32)), SHA256())
        check.update(f"{post.headers['webhook-id']}.{at}.".encode() + post.body)
        version, _, signature = post.headers["webhook-signature"].partition(",")
        assert version == "v1"
        check.verify(base64.b64decode(signature))
    assert second.json() == {"event": "alarm", "model": "delays", "text": "delays drifted"}


def test_the_key_is_in_no_answer_of_ours_and_a_missing_one_is_named(
    project: Project, receiver: Receiver, mlnb: Mlnb
) -> None:
    declare(
        project, f'[tool.mlnb.notify.ops]\nkind = "webhook"\nurl = "{receiver.url}/t0ken"\nsigning_secret = "NO_KEY"\n'
    ).ledger.close()
    mlnb("doctor", "--allow", "ops")
    missing = mlnb("doctor", "--notify")
    assert missing.code == 1 and "There is no secret 'NO_KEY'" in missing.out
    assert receiver.posts == []
    wrong = mlnb("doctor", "--notify", env={"NO_KEY": "whsec_no base64!"})
    assert wrong.code == 1 and "must go on in base64" in wrong.out
    well = mlnb("doctor", "--notify", env={"NO_KEY": KEY})
    assert well.code == 0 and "the test event was taken" in well.out
    assert all(said not in missing.out + wrong.out + well.out for said in ("t0ken", "no base64!", KEY))
    assert receiver.posts[0].json()["event"] == "test"


def test_what_uses_secrets_or_runs_a_command_sends_nothing_before_this_user_allows_exactly_that(
    project: Project, receiver: Receiver, mlnb: Mlnb, tmp_path: Path
) -> None:
    table = f'[tool.mlnb.notify.run]\nkind = "command"\nargv = [{sys.executable!r}, "-c", "open(\'ran\', \'a\')"]\n'
    made = declare(project, table)
    happen(made, "alarm", "delays drifted")
    (waiting,) = made.outbox.waiting()
    assert waiting.problem.endswith("then: mlnb doctor --allow run.")
    assert not (tmp_path / "ran").exists()
    told = mlnb("doctor")
    assert told.code == 1 and "not allowed yet" in told.out
    mlnb("doctor", "--allow", "run")
    while made.outbox.waiting():
        made.effects.deliver()
    made.ledger.close()
    assert (tmp_path / "ran").exists()
    declare(project, table.replace("'a'", "'w'")).ledger.close()
    assert "not allowed" in mlnb("doctor", "--notify").out
    assert mlnb("doctor", "--allow", "else").code == 2


MAIL = """[tool.mlnb.notify.mail]
kind = "email"
host = "127.0.0.1"
port = {port}
security = "{security}"
ca = "{ca}"
user = "{user}"
password_secret = "MAIL_PASSWORD"
from = "mlnb@example.org"
to = {to}
"""


def mail(project: Project, office: Post_office, mlnb: Mlnb, security: str = "starttls", *, to: str = "") -> Project:
    table = MAIL.format(port=office.port, security=security, ca=office.ca, user=USER, to=to or '["ann@example.org"]')
    made = declare(project, table)
    mlnb("doctor", "--allow", "mail")
    return made


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_is_handed_over_encrypted_and_with_a_login(
    project: Project, request: pytest.FixtureRequest, mlnb: Mlnb, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    office: Post_office = request.getfixturevalue("post_office" if security == "starttls" else "tls_post_office")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    made = mail(project, office, mlnb, security, to='["ann@example.org", "ben@example.org"]')
    happen(made, "alarm", "delays drifted: the first,\nand: Bcc")
    assert made.outbox.waiting() == ()
    made.ledger.close()
    (taken,) = office.mails
    assert taken["To"] == "ann@example.org, ben@example.org" and taken["Auto-Submitted"] == "auto-generated"
    subject = taken["Subject"].strip()
    assert subject.startswith("[mlnb] ") and subject.endswith("drifted: the first, and: Bcc")
    assert taken["Message-ID"].endswith("@mlnb>")
    assert "model: delays" in taken.get_content()


def test_a_mail_that_cannot_be_handed_over_says_why_and_reaches_nobody(
    project: Project, post_office: Post_office, mlnb: Mlnb, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail(project, post_office, mlnb).ledger.close()
    wrong = mlnb("doctor", "--notify", env={"MAIL_PASSWORD": "not the right one"})
    assert wrong.code == 1 and "it refuses the user or the password (535)" in wrong.out
    assert "not the right one" not in wrong.out
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    mail(project, post_office, mlnb, to='["ann@example.org", "nobody@example.org"]').ledger.close()
    assert "550 it refuses nobody@example.org: 5.1.1 no such mailbox" in mlnb("doctor", "--notify").out
    made = mail(project, post_office, mlnb)
    text = (made.root / "pyproject.toml").read_text()
    made = declare(made, "\n".join(line for line in text.splitlines()[1:] if not line.startswith("ca =")) + "\n")
    made.ledger.close()
    mlnb("doctor", "--allow", "mail")
    assert "certificate verify failed" in mlnb("doctor", "--notify").out
    assert post_office.mails == []


def test_a_chat_is_told_as_slack_takes_it(project: Project, receiver: Receiver) -> None:
    made = declare(project, f'[tool.mlnb.notify.chat]\nkind = "slack"\nurl = "{receiver.url}/services/T0"\n')
    happen(made, "alarm", "delays: <distance> drifted & <!channel> sleeps")
    made.ledger.close()
    (post,) = receiver.posts
    escaped = "delays: &lt;distance&gt; drifted &amp; &lt;!channel&gt; sleeps"
    assert post.json() == {
        "text": escaped,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": escaped}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "alarm · delays"}]},
        ],
    }


def command(project: Project, mlnb: Mlnb, code: str, more: str = "", before: str = "") -> Project:
    (project.root / "tell.py").write_text(code)
    words = f'["{sys.executable}", "tell.py", "; touch shell"]'
    made = declare(project, f'{before}[tool.mlnb.notify.run]\nkind = "command"\nargv = {words}\n{more}')
    mlnb("doctor", "--allow", "run")
    return made


def test_a_command_gets_the_event_on_its_standard_input_and_no_shell(project: Project, mlnb: Mlnb) -> None:
    made = command(
        project, mlnb, "import sys, os\nopen('told', 'w').write(os.environ['MLNB_IDEMPOTENCY_KEY'] + sys.stdin.read())"
    )
    happen(made, "retraining", "delays was trained again")
    made.ledger.close()
    told = (made.root / "told").read_text()
    assert '{"event": "retraining", "model": "delays", "text": "delays was trained again"}' in told
    assert told.startswith("sha256:") and not (made.root / "shell").exists()


def test_a_command_that_fails_tells_the_end_of_its_errors_without_our_secrets(
    project: Project, mlnb: Mlnb, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "another key, in words")
    other = f'[tool.mlnb.notify.a]\nkind = "webhook"\nurl = "{receiver.url}"\nsigning_secret = "OTHER_KEY"\n'
    code = (
        "import os, sys\nsys.stderr.write('x' * 10**6 + ' key ' + os.environ['OTHER_KEY'] + ' is wrong.')\nsys.exit(3)"
    )
    made = command(project, mlnb, code, before=other)
    mlnb("doctor", "--allow", "a")
    happen(made, "alarm", "first a, then run")
    (waiting,) = made.outbox.waiting()
    made.ledger.close()
    assert waiting.problem.endswith("x key [secret OTHER_KEY] is wrong. It is run again later.")
    assert "ended with code 3: " in waiting.problem and len(waiting.problem) < 2_300


def test_a_command_that_takes_too_long_is_stopped_with_what_it_has_started(project: Project, mlnb: Mlnb) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\ntime.sleep(600)"
    )
    made = command(project, mlnb, code, "timeout_s = 1.5\n")
    happen(made, "alarm", "too long")
    (waiting,) = made.outbox.waiting()
    made.ledger.close()
    assert "was stopped after 1.5 seconds" in waiting.problem
    child = int((made.root / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_channel_tells_only_the_events_and_the_models_that_it_is_limited_to(
    project: Project, receiver: Receiver
) -> None:
    kinds = {
        "all": "",
        "alarms": 'events = ["alarm"]\n',
        "ours": 'events = ["alarm", "retraining"]\nmodels = ["fares"]\n',
    }
    made = declare(
        project,
        "".join(
            f'[tool.mlnb.notify.{name}]\nkind = "webhook"\nurl = "{receiver.url}/{name}"\n{limits}'
            for name, limits in kinds.items()
        ),
    )
    happen(made, "promotion", "anna promoted delays")
    happen(made, "alarm", "delays drifted")
    happen(made, "retraining", "fares was trained again", "fares")
    made.ledger.close()
    assert sorted((post.path, post.json()["event"]) for post in receiver.posts) == [
        ("/alarms", "alarm"), ("/all", "alarm"), ("/all", "promotion"), ("/all", "retraining"), ("/ours", "retraining"),
    ]  # fmt: skip


def test_a_channel_that_fails_delays_no_other_and_is_tried_again_by_itself(
    project: Project, receiver: Receiver
) -> None:
    made = declare(
        project,
        '[tool.mlnb.notify.a]\nkind = "slack"\nurl = "http://127.0.0.1:9/"\n'
        f'[tool.mlnb.notify.b]\nkind = "webhook"\nurl = "{receiver.url}/"\n',
    )
    happen(made, "alarm", "one")
    happen(made, "alarm", "two")
    waiting = made.outbox.waiting()
    made.ledger.close()
    assert [post.json()["text"] for post in receiver.posts] == ["one", "two"]
    assert [effect.payload["notifier"] for effect in waiting] == ["a", "a"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('kind = "pigeon"', "has the kind 'pigeon', which is none"),
        ('url = "https://host/"', "The setting kind in .* is missing"),
        ('kind = "slack"', "The setting url in .* is missing"),
        ('kind = "slack"\nurl = "ftp://host/"', "The setting url is no web address"),
        ('kind = "slack"\nurl = "https://host/"\nurl_secret = "X"', "is given beside url_secret"),
        ('kind = "slack"\nurl = "https://host/"\nmodel = ["m"]', "has an unknown key 'model'"),
        ('kind = "slack"\nurl = "https://host/"\nevents = ["alarms"]', "names 'alarms', not promotion, alarm or"),
        ('kind = "command"\nargv = "touch x"', "is 'touch x', not a list of texts"),
        ('kind = "command"\nargv = ["x"]\ntimeout_s = 0', "is 0, not a number larger than 0"),
        ('kind = "email"\nhost = "h"\nfrom = "a@b"', "The setting to in .* is missing"),
        (
            'kind = "email"\nhost = "h"\nfrom = "a@b"\nto = ["c@d"]\nsecurity = "none"\nuser = "u"\npassword_secret = "P"',
            "the password would travel in the clear",
        ),
    ],
)
def test_what_is_declared_wrongly_is_refused_before_anything_moves(project: Project, table: str, problem: str) -> None:
    made = declare(project, f"[tool.mlnb.notify.ops]\n{table}\n")
    with pytest.raises(SettingsError, match=problem):
        happen(made, "alarm", "delays drifted")
    assert made.outbox.waiting() == ()
    made.ledger.close()


def test_doctor_tells_which_channels_are_set_up_without_their_tokens(project: Project, mlnb: Mlnb) -> None:
    declare(
        project,
        '[tool.mlnb.notify.chat]\nkind = "slack"\nurl = "https://hooks.example.org/T0/s3cret"\nevents = ["alarm"]\n',
    ).ledger.close()
    told = mlnb("doctor")
    assert "notify chat: slack to https://hooks.example.org; tells alarm" in told.out
    assert "s3cret" not in told.out + mlnb("doctor", "--json").out
    assert os.environ.get("MLNB_NOTIFY_URL") is None
