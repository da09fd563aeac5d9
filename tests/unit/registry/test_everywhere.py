"""The same registry on other ground: its ledger on a real PostgreSQL, its packages on S3, encrypted or not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from tests.unit.registry.wine import write_project
from tests.unit.store.bucket_server import s3_server
from tests.unit.store.postgres_server import postgres_server

HERE = Path(__file__).parent
TEAM = HERE.with_name("store") / "team.py"
CHOSEN = (
    "not same_file and (test_registry or untouched or contradict or removed_row_is"
    " or test_outbox or test_docket or schema_2 or march or evidence_is or refuses_whoever or second_person"
    " or force_overrides or acknowledged or present_schema or even_past_us or all_or_none)"
)
FILES = tuple(f"test_{name}.py" for name in ("registry", "audit", "outbox", "tenure", "policy", "alarms", "docket"))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Run both servers; yield the variables that lead to them."""
    with postgres_server() as address, s3_server(tmp_path_factory.mktemp("s3")) as environ:
        yield {**environ, "WHERE_LEDGER": address, "WHERE_ARTIFACTS": "s3://team/models"}


def done(arguments: list[object], environ: Mapping[str, str], folder: Path) -> str:
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.postgres
def test_the_tests_of_the_registry_hold_there_too(ground: Mapping[str, str]) -> None:
    server, bucket = ground["WHERE_LEDGER"], ground["WHERE_ARTIFACTS"]
    environ = {**ground, "GROUNDS_OF_TESTS": json.dumps([(server, ""), (server, bucket), ("", bucket)])}
    words = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", CHOSEN]
    said = done(["-m", "pytest", *words, *(HERE / name for name in FILES)], environ, HERE.parents[2])
    assert re.search(r"^(\d+) passed", said, re.M)[1] == "79", said  # a renamed test is not left out unseen


@pytest.mark.postgres
def test_what_one_machine_deploys_another_scores_promotes_saves_and_restores(
    ground: Mapping[str, str], tmp_path: Path
) -> None:
    key = tmp_path / "team.key"
    key.write_text("bmV2ZXIgdXNlIHRoaXMga2V5LCBpdCBpcyBwdWJsaWM=\n")
    key.chmod(0o600)
    environ = {
        **ground,
        "MLNB_LEDGER": ground["WHERE_LEDGER"],
        "MLNB_ARTIFACTS": "s3://team/wine",
        "MLNB_ENCRYPTION_KEY": str(key),
        "MLNB_ENVIRONMENT": "installed",
    }
    first, second, third = (write_project(tmp_path / name) for name in ("first", "second", "third"))
    deployed = json.loads(done([TEAM, "deploy", first], environ, first))
    assert deployed == {"ref": "wine/1", "sealed": True}

    found = json.loads(done([TEAM, "use", second, tmp_path / "wine.mlnb"], environ, second))
    assert found["promoted"] == ["wine/1", "production"]
    assert found["predictions"] == [0]
    assert found["objects"] and found["all sealed"]  # nothing that S3 holds can be read there
    assert found["intact"]

    with psycopg.connect(ground["WHERE_LEDGER"], autocommit=True) as connection:
        connection.execute("CREATE SCHEMA another")
    another = {
        **environ,
        "MLNB_LEDGER": f"{ground['WHERE_LEDGER']}&options=-csearch_path%3Danother",
        "MLNB_ARTIFACTS": "",
    }
    restored = json.loads(done([TEAM, "restore", third, tmp_path / "wine.mlnb"], another, third))
    aliases = {"challenger": 1, "production": 1, "staging": 1}
    assert restored == {"aliases": aliases, "intact": True, "predictions": [0], "runs": 0}
