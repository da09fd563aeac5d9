from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, NewerFormatError, RequestError, ServiceError, UntrustedError
from mlnb.service.router import Router, Routing, load_routing
from mlnb.service.routing_files import check_trust, place, read_aliases, write_aliases
from mlnb.store.seal import seal

NOTHING = Routing("", 0, {}, "")


async def until(router: Router, revision: int) -> None:
    """Follow until `revision` is loaded or refused."""
    follower = asyncio.create_task(router.follow())
    async with asyncio.timeout(30):
        while router.routing.revision != revision and (not router.refused or router.refused.revision != revision):
            await asyncio.sleep(0.01)
    follower.cancel()


def test_production_is_the_default_and_else_the_alias_of_the_highest_version(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"challenger": 2, "staging": 1})
    routing = load_routing(tmp_path, NOTHING)
    assert routing.default == "challenger"
    assert routing.version_of("")[1].ref == "delays/2"
    place(tmp_path, "delays", packages, {"challenger": 2, "production": 1})
    routing = load_routing(tmp_path, routing)
    assert routing.version_of("") == ("production", routing.aliases["production"])


def test_an_unknown_alias_is_404_and_names_those_there_are_and_nothing_live_is_503(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"staging": 1})
    with pytest.raises(RequestError, match=r"no alias 'prod'.*staging") as unknown:
        load_routing(tmp_path, NOTHING).version_of("prod")
    assert unknown.value.status == 404
    place(tmp_path, "delays", packages, {})
    with pytest.raises(RequestError, match="No version of delays is live") as empty:
        load_routing(tmp_path, NOTHING).version_of("")
    assert empty.value.status == 503


def test_a_version_that_stays_is_not_loaded_again(tmp_path: Path, packages: dict[int, Path]) -> None:
    place(tmp_path, "delays", packages, {"staging": 1})
    before = load_routing(tmp_path, NOTHING)
    place(tmp_path, "delays", packages, {"staging": 2, "production": 1})
    after = load_routing(tmp_path, before)
    assert after.aliases["production"] is before.aliases["staging"]
    assert after.revision == before.revision + 1


def test_the_same_routing_keeps_its_revision(tmp_path: Path, packages: dict[int, Path]) -> None:
    assert place(tmp_path, "delays", packages, {"staging": 1}) == 1
    assert place(tmp_path, "delays", packages, {"staging": 1}) == 1
    assert place(tmp_path, "delays", packages, {"staging": 2}) == 2


def test_the_router_follows_the_folder_and_keeps_the_old_routing_when_the_new_one_is_broken(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    async def scenario() -> Router:
        place(tmp_path, "delays", packages, {"staging": 1})
        router = Router(tmp_path, tmp_path / "bento")
        router.load()
        place(tmp_path, "delays", packages, {"staging": 2})
        await until(router, 2)
        assert router.routing.version_of("staging")[1].number == 2
        place(tmp_path, "delays", packages, {"staging": 2, "production": 1})
        (tmp_path / "versions" / "1" / "model.onnx").write_bytes(b"broken")
        router.routing = Routing("delays", 2, {"staging": router.routing.aliases["staging"]}, "staging")
        await until(router, 3)
        return router

    router = asyncio.run(scenario())
    assert router.routing.revision == 2
    assert router.routing.version_of("")[1].number == 2
    assert router.refused is not None
    assert "model.onnx" in router.refused.problem


def test_the_bento_answers_until_the_state_folder_has_a_routing(tmp_path: Path, packages: dict[int, Path]) -> None:
    async def scenario() -> None:
        place(tmp_path / "bento", "delays", packages, {"staging": 1})
        (tmp_path / "state").mkdir()
        router = Router(tmp_path / "state", tmp_path / "bento")
        router.load()
        assert router.routing.version_of("")[1].number == 1
        place(tmp_path / "state", "delays", packages, {"staging": 2})
        place(tmp_path / "state", "delays", packages, {"staging": 2, "production": 2})
        await until(router, 2)
        assert router.routing.version_of("")[1].number == 2

    asyncio.run(scenario())


def test_changed_bytes_of_a_version_are_refused(tmp_path: Path, packages: dict[int, Path]) -> None:
    place(tmp_path, "delays", packages, {"staging": 1})
    model = tmp_path / "versions" / "1" / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(CorruptError, match=r"model\.onnx"):
        load_routing(tmp_path, NOTHING)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 1, "model": "m", "revision": 1, "aliases": {"a": "x"}, "code": []}',
        '{"format": "x"}',
    ],
)
def test_a_malformed_routing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "aliases.json").write_text(content)
    with pytest.raises(ServiceError, match="cannot be read"):
        load_routing(tmp_path, NOTHING)


def test_a_routing_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aliases.json").write_text('{"format": 3}')
    with pytest.raises(NewerFormatError):
        load_routing(tmp_path, NOTHING)


def test_a_missing_package_is_named(tmp_path: Path, packages: dict[int, Path]) -> None:
    place(tmp_path, "delays", packages, {"staging": 1})
    document = json.loads((tmp_path / "aliases.json").read_text()) | {"aliases": {"staging": 9}}
    (tmp_path / "aliases.json").write_text(json.dumps(document))
    with pytest.raises(ServiceError, match="delays/9 is missing"):
        load_routing(tmp_path, NOTHING)


def test_hooks_are_loaded_only_where_a_trusted_key_has_signed_them(tmp_path: Path, hooked_package: Path) -> None:
    place(tmp_path / "signed", "delays", {1: hooked_package}, {"staging": 1})
    placed = read_aliases(tmp_path / "signed")
    assert placed is not None
    assert len(placed.code) == 1
    assert load_routing(tmp_path / "signed", NOTHING).aliases["staging"].scorer.hooks is not None

    package = json.loads((hooked_package / "package.json").read_text())
    package["signatures"]["hooks.py"]["key"] = "0" * 16
    forged = tmp_path / "forged"
    forged.mkdir()
    for path in hooked_package.iterdir():
        (forged / path.name).write_bytes(path.read_bytes())
    (forged / "package.json").write_text(json.dumps(package))
    with pytest.raises(UntrustedError):
        place(tmp_path / "state", "delays", {1: forged}, {"staging": 1})
    assert not (tmp_path / "state" / "aliases.json").exists()


def test_code_that_a_foreign_aliases_file_allows_is_not_believed(tmp_path: Path, hooked_package: Path) -> None:
    place(tmp_path, "delays", {1: hooked_package}, {"staging": 1})
    check_trust(tmp_path)
    before = read_aliases(tmp_path)
    assert before is not None
    document = json.loads((tmp_path / "aliases.json").read_text())
    (tmp_path / "aliases.json").write_text(json.dumps(document | {"code": ["sha256:ff"]}))
    check_trust(tmp_path)
    after = read_aliases(tmp_path)
    assert after is not None
    assert after.code == before.code
    document["code"] = []
    (tmp_path / "aliases.json").write_text(json.dumps(document))
    with pytest.raises(UntrustedError):
        load_routing(tmp_path, NOTHING)


def test_a_version_that_is_only_kept_warm_is_let_go_where_its_code_is_trusted_no_more(
    tmp_path: Path, hooked_package: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", {1: hooked_package}, {"staging": 1})
    place(tmp_path, "delays", packages, {"staging": 2})
    before = read_aliases(tmp_path)
    assert before is not None
    assert (before.warm, len(before.code)) == ((1,), 1)
    path = tmp_path / "versions" / "1" / "package.json"
    package = json.loads(path.read_text())
    package["signatures"]["hooks.py"]["key"] = "0" * 16
    path.write_text(json.dumps(package))
    check_trust(tmp_path)
    after = read_aliases(tmp_path)
    assert after is not None
    assert (after.aliases, after.warm, after.code) == ({"staging": 2}, (), ())


def test_a_damaged_version_is_replaced_when_it_is_placed_again(tmp_path: Path, packages: dict[int, Path]) -> None:
    sealed = tmp_path / "sealed"
    shutil.copytree(packages[1], sealed)
    seal(sealed)
    for _ in range(2):
        place(tmp_path / "state", "delays", {1: sealed}, {"staging": 1})
        assert load_routing(tmp_path / "state", NOTHING).version_of("staging")[1].number == 1
        (tmp_path / "state" / "versions" / "1" / "model.onnx").write_bytes(b"broken")


def test_a_routing_that_loads_slowly_does_not_take_the_place_of_a_newer_one(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    aliases, pipe = tmp_path / "aliases.json", tmp_path / "pipe"

    async def scenario() -> Router:
        place(tmp_path, "delays", packages, {"staging": 1})
        first = json.loads(aliases.read_bytes())
        router = Router(None, tmp_path)
        router.load()
        os.mkfifo(pipe)
        os.link(pipe, tmp_path / "second")
        (tmp_path / "second").replace(aliases)
        slow = asyncio.create_task(router.look())
        async with asyncio.timeout(30):
            while (writer := opened_to_write(pipe)) < 0:
                await asyncio.sleep(0.01)
        (tmp_path / "third").write_text(json.dumps(first | {"revision": 3}))
        (tmp_path / "third").replace(aliases)
        await router.look()
        assert router.routing.revision == 3
        os.write(writer, json.dumps(first | {"revision": 2}).encode())
        os.close(writer)
        await slow
        return router

    assert asyncio.run(scenario()).routing.revision == 3


def opened_to_write(pipe: Path) -> int:
    """Return a descriptor; -1 as long as nobody reads."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return -1


def test_an_alias_of_a_version_that_was_not_placed_is_refused_when_written(tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        write_aliases(tmp_path, "delays", 1, {"staging": 5})
