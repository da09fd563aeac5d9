"""Files that code reads by a path that can be known count by their bytes."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest

from mlnb.pipeline.files_read import digests_of_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with data."""
    for name in ("a.csv", "b.csv", "data/2013.csv", "data/2014.csv", "data/deep/x.npy", "model.pkl"):
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    (tmp_path / "outside.csv").write_text("outside", "utf-8")
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("pd.read_csv('a.csv')", ["a.csv"]),
        ("pd.read_csv(filepath_or_buffer='a.csv', sep=';')", ["a.csv"]),
        ("open('a.csv')", ["a.csv"]),
        ("with open('a.csv', 'rb') as f: pass", ["a.csv"]),
        ("open('a.csv', 'w')", []),
        ("open('a.csv', mode='a')", []),
        ("df.to_csv('a.csv')", []),
        ("np.load('data/deep/x.npy')", ["data/deep/x.npy"]),
        ("joblib.load('model.pkl')", ["model.pkl"]),
        ("gzip.open('a.csv', 'wb')", []),
        ("Path('a.csv').read_text()", ["a.csv"]),
        ("Path('a.csv').open()", ["a.csv"]),
        ("Path('a.csv').open('w')", []),
        ("(Path('data') / '2013.csv').read_bytes()", ["data/2013.csv"]),
        ("pd.read_csv(Path('data', '2013.csv'))", ["data/2013.csv"]),
        ("pd.read_csv(os.path.join('data', '2013.csv'))", ["data/2013.csv"]),
        ("DATA = Path('data')\npd.read_csv(DATA / f'{year}.csv')", ["data/2013.csv"]),
        ("name = 'a'\nname = 'b'\nopen(name + '.csv')", []),
        ("def read(path='a.csv'):\n    return open(path)", []),
        ("def read():\n    return open('a.csv')", ["a.csv"]),
        ("pd.read_csv(where)", ["b.csv"]),
        ("pd.read_csv(unknown)", []),
        ("pd.read_csv('missing.csv')", []),
        ("pd.read_csv('https://example.org/a.csv')", []),
        ("pd.read_csv('../outside.csv')", ["../outside.csv"]),
        ("glob.glob('data/*.csv')", ["data/2013.csv", "data/2014.csv"]),
        ("Path('data').glob('*.csv')", ["data/2013.csv", "data/2014.csv"]),
        ("Path('data').rglob('*.npy')", ["data/deep/x.npy"]),
        ("pd.read_parquet('data')", ["data/2013.csv", "data/2014.csv", "data/deep/x.npy"]),
        ("a = b\nb = a\nopen(a)", []),
        ("a = a + '.csv'\nopen(a)", []),
        ("pd.read_csv(f'{year:04d}.csv')", []),
        ("print('a.csv')", []),
        ("pd.read_csv('\\0')", []),
    ],
)
def test_the_files_that_code_reads_are_found(folder: Path, code: str, files: list[str]) -> None:
    values = {"year": 2013, "where": "b.csv", "flag": True}
    found = digests_of_files([ast.parse(code)], values, folder)
    assert [Path(folder / name).resolve() for name in found] == [(folder / name).resolve() for name in files]
    for name, digest in found.items():
        assert digest == f"sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"
