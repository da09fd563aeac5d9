"""What code reads and writes by a path that can be known, and what is read counts by its bytes."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest

from mlnb.pipeline.files_read import touched
from mlnb.pipeline.sources import identities
from mlnb.store.digests import FileDigests

FILES = ("a.csv", "b.csv", "data/2013.csv", "data/2014.csv", "data/deep/x.npy", "model.pkl", "x.db", "script.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with data."""
    for name in (*FILES, ".mlnb/state.csv"):
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    (tmp_path / "outside.csv").write_text("outside", "utf-8")
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("pd.read_csv('a.csv')", ["a.csv"]),
        ("pd.read_csv('./a.csv')", ["a.csv"]),
        ("pd.read_csv(filepath_or_buffer='a.csv', sep=';')", ["a.csv"]),
        ("from pandas import read_csv as rc\nrc('a.csv')", ["a.csv"]),
        ("rc = pd.read_csv\nrc('a.csv')", ["a.csv"]),
        ("pd.ExcelFile('a.csv')", ["a.csv"]),
        ("pl.scan_csv(['a.csv', 'b.csv'])", ["a.csv", "b.csv"]),
        ("pl.read_parquet(source='a.csv')", ["a.csv"]),
        ("pq.ParquetFile('a.csv')", ["a.csv"]),
        ("pq.read_table('a.csv', columns=['b.csv'])", ["a.csv"]),
        ("pa.csv.open_csv('a.csv')", ["a.csv"]),
        ("pa.memory_map('a.csv')", ["a.csv"]),
        ("pa.OSFile('a.csv', 'wb')", []),
        ("ds.dataset('data', format='csv')", ["data/2013.csv", "data/2014.csv", "data/deep/x.npy"]),
        ("np.load('data/deep/x.npy')", ["data/deep/x.npy"]),
        ("np.loadtxt(fname='a.csv')", ["a.csv"]),
        ("np.memmap('a.csv', 'float64', 'r')", ["a.csv"]),
        ("np.memmap('a.csv', dtype='float64', mode='w+')", []),
        ("joblib.load('model.pkl')", ["model.pkl"]),
        ("with open('model.pkl', 'rb') as f:\n    model = pickle.load(f)", ["model.pkl"]),
        ("open('a.csv')", ["a.csv"]),
        ("with open('a.csv', 'rb') as f: pass", ["a.csv"]),
        ("open('a.csv', 'r+')", ["a.csv"]),
        ("open('a.csv', 'w')", []),
        ("open('a.csv', mode='a')", []),
        ("open('a.csv', 'xb')", []),
        ("df.to_csv('a.csv')", []),
        ("df.write_parquet('a.csv')", []),
        ("pq.write_table(table, 'a.csv')", []),
        ("np.save('a.csv', x)", []),
        ("joblib.dump(model, 'model.pkl')", []),
        ("plt.savefig('a.csv')", []),
        ("gzip.open('a.csv')", ["a.csv"]),
        ("gzip.open('a.csv', 'wb')", []),
        ("tarfile.open('a.csv', 'w:gz')", []),
        ("zipfile.ZipFile('a.csv')", ["a.csv"]),
        ("Path('a.csv').read_text()", ["a.csv"]),
        ("Path('a.csv').write_text('b.csv')", []),
        ("Path('a.csv').open()", ["a.csv"]),
        ("Path('a.csv').open('w')", []),
        ("(Path('data') / '2013.csv').read_bytes()", ["data/2013.csv"]),
        ("pd.read_csv(Path('data').joinpath('2013.csv').resolve())", ["data/2013.csv"]),
        ("pd.read_csv(Path('data', '2013.csv').with_suffix('.csv'))", ["data/2013.csv"]),
        ("pd.read_csv(os.path.join('data', '2013.csv'))", ["data/2013.csv"]),
        ("pd.read_csv('data/{}.csv'.format(year))", ["data/2013.csv"]),
        ("pd.read_csv('data/%s.csv' % year)", ["data/2013.csv"]),
        ("pd.read_csv(f'data/{year + 1}.csv')", ["data/2014.csv"]),
        ("DATA = Path('data')\npd.read_csv(DATA / f'{year}.csv')", ["data/2013.csv"]),
        ("for y in (2013, 2014):\n    pd.read_csv(f'data/{y}.csv')", ["data/2013.csv", "data/2014.csv"]),
        ("pd.concat(pd.read_csv(f'data/{y}.csv') for y in range(2013, 2015))", ["data/2013.csv", "data/2014.csv"]),
        ("FILES = ['a.csv', 'b.csv']\n[pd.read_csv(name) for name in FILES]", ["a.csv", "b.csv"]),
        ("PATHS = {'rows': 'a.csv'}\npd.read_csv(PATHS['rows'])", ["a.csv"]),
        ("pd.read_csv('a.csv' if full else 'b.csv')", ["a.csv", "b.csv"]),
        ("name = 'a'\nname = 'b'\nopen(name + '.csv')", []),
        ("def read(path='a.csv'):\n    return open(path)", []),
        ("def read():\n    return open('a.csv')", ["a.csv"]),
        ("pd.read_csv(where)", ["b.csv"]),
        ("pd.read_csv(unknown)", []),
        ("pd.read_csv('missing.csv')", []),
        ("pd.read_csv('../outside.csv')", ["../outside.csv"]),
        ("glob.glob('data/*.csv')", ["data/2013.csv", "data/2014.csv"]),
        ("sorted(Path('data').glob('*.csv'))", ["data/2013.csv", "data/2014.csv"]),
        ("Path('data').rglob('*.npy')", ["data/deep/x.npy"]),
        ("os.listdir('data/deep')", ["data/deep/x.npy"]),
        ("pd.read_parquet('data')", ["data/2013.csv", "data/2014.csv", "data/deep/x.npy"]),
        ("os.listdir('.')", []),
        ("list(Path('..').iterdir())", []),
        ("sqlite3.connect('x.db')", ["x.db"]),
        ("sqlite3.connect(':memory:')", []),
        ("pd.read_sql('select 1', 'sqlite:///x.db')", ["x.db"]),
        ("create_engine(f'sqlite:///x.db')", ["x.db"]),
        ("duckdb.sql(\"select * from 'a.csv' where x = 'b'\")", ["a.csv"]),
        ("shutil.copy('a.csv', 'b.csv')", ["a.csv"]),
        ("get_ipython().run_line_magic('run', 'script.py')", ["script.py"]),
        ("a = b\nb = a\nopen(a)", []),
        ("a = a + '.csv'\nopen(a)", []),
        ("pd.read_csv(f'{year:04d}.csv')", []),
        ("print('a.csv')", []),
        ("pd.read_csv('\\0')", []),
        ("df.to_csv('a.csv')\npd.read_csv('a.csv')", []),
        ("df = pd.read_csv('a.csv')\ndf.to_csv('a.csv')", ["a.csv"]),
    ],
)
def test_the_files_that_code_reads_are_found(folder: Path, code: str, files: list[str]) -> None:
    values = {"year": 2013, "where": "b.csv", "flag": True}
    found = identities(touched([ast.parse(code)], values).reads, folder, FileDigests()).files
    assert [Path(folder / name).resolve() for name in found] == [(folder / name).resolve() for name in files]
    for name, digest in found.items():
        assert digest == f"sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"


@pytest.mark.parametrize(
    ("code", "writes"),
    [
        ("df.to_csv('a.csv', index=False)", ["a.csv"]),
        ("df.to_parquet(path='out/a.parquet')", ["out/a.parquet"]),
        ("df.write_csv(Path('out') / 'a.csv')", ["out/a.csv"]),
        ("lazy.sink_parquet('a.parquet')", ["a.parquet"]),
        ("pq.write_table(table, 'a.parquet')", ["a.parquet"]),
        ("feather.write_feather(df, dest='a.feather')", ["a.feather"]),
        ("np.savez('a.npz', x=x)", ["a.npz"]),
        ("x.tofile('a.bin')", ["a.bin"]),
        ("joblib.dump(model, 'm.pkl')", ["m.pkl"]),
        ("torch.save(model, 'm.pt')", ["m.pt"]),
        ("with open('a.json', 'w') as f:\n    json.dump('x', f)", ["a.json"]),
        ("Path('a.txt').write_text('b.txt')", ["a.txt"]),
        ("plt.savefig('a.png', dpi=200)", ["a.png"]),
        ("fig.write_html('a.html')", ["a.html"]),
        ("shutil.copy('a.csv', 'b.csv')", ["b.csv"]),
        ("urlretrieve('https://example.org/a', 'a.csv')", ["a.csv"]),
        ("c = sqlite3.connect('x.db')\nc.execute('insert into t values (1)')", ["x.db"]),
        ("c = sqlite3.connect('x.db')\nc.execute('select 1')", []),
        ("open('a.csv', 'r+')", ["a.csv"]),
        ("pd.read_csv('a.csv')", []),
        ("df.rename(columns={'a': 'b'})", []),
        ("''.replace('a', 'b')", []),
    ],
)
def test_the_files_that_code_writes_are_found(code: str, writes: list[str]) -> None:
    assert list(touched([ast.parse(code)], {}).writes) == writes


def test_a_declared_pattern_that_matches_nothing_is_said(folder: Path) -> None:
    found = identities((), folder, FileDigests(), declared=("data/*.csv", "lost/*.csv"), stage="train")
    assert list(found.files) == ["data/2013.csv", "data/2014.csv", "lost/*.csv"]
    assert found.files["lost/*.csv"] == "nothing"
    assert found.notices == (f"`--reads lost/*.csv` of stage `train` matches nothing in {folder}.",)


def test_many_files_are_one_entry_that_changes_with_each_of_them(folder: Path) -> None:
    for number in range(300):
        (folder / "data" / "deep" / f"{number}.txt").write_text(str(number), "utf-8")
    before = identities(["data/deep", "data/deep/*.txt"], folder, FileDigests()).files
    assert list(before) == ["data/deep/", "data/deep/*.txt"]
    (folder / "data" / "deep" / "7.txt").write_text("other", "utf-8")
    after = identities(["data/deep", "data/deep/*.txt"], folder, FileDigests()).files
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)
    (folder / "data" / "deep" / "7.txt").write_text("7", "utf-8")
    assert identities(["data/deep", "data/deep/*.txt"], folder, FileDigests()).files == before


DVC_FILE = "outs:\n- md5: {md5}\n  size: 5\n  hash: md5\n  path: a.csv\n"


def test_a_dvc_pointer_stands_for_a_file_that_was_not_pulled_and_for_an_unchanged_one(folder: Path) -> None:
    md5 = hashlib.md5(b"a.csv").hexdigest()
    (folder / "a.csv.dvc").write_text(DVC_FILE.format(md5=md5), "utf-8")
    assert identities(["a.csv"], folder, FileDigests()).files == {"a.csv": f"md5:{md5}"}
    (folder / "a.csv").write_text("changed", "utf-8")
    changed = hashlib.sha256(b"changed").hexdigest()
    assert identities(["a.csv"], folder, FileDigests()).files == {"a.csv": f"sha256:{changed}"}
    (folder / "a.csv").unlink()
    assert identities(["a.csv"], folder, FileDigests()).files == {"a.csv": f"md5:{md5}"}


def test_a_folder_under_dvc_has_the_digest_that_dvc_gives_it(tmp_path: Path) -> None:
    """The digest was made by dvc 3.67.1: `dvc add pics` with pics/a.txt = "one", pics/z/b.txt = "two"."""
    (tmp_path / "pics/z").mkdir(parents=True)
    (tmp_path / "pics/a.txt").write_text("one", "utf-8")
    (tmp_path / "pics/z/b.txt").write_text("two", "utf-8")
    md5 = "4e78ccf21881d191c71c4301a78dafbf.dir"
    pointer = f"outs:\n- md5: {md5}\n  size: 6\n  nfiles: 2\n  hash: md5\n  path: pics\n"
    (tmp_path / "pics.dvc").write_text(pointer, "utf-8")
    assert identities(["pics"], tmp_path, FileDigests()).files == {"pics": f"md5:{md5}"}
    (tmp_path / "pics/a.txt").write_text("other", "utf-8")
    assert sorted(identities(["pics"], tmp_path, FileDigests()).files) == ["pics/a.txt", "pics/z/b.txt"]


def test_a_dvc_lock_names_the_outputs_of_a_dvc_pipeline(folder: Path) -> None:
    lock = "schema: '2.0'\nstages:\n  clean:\n    cmd: x\n    outs:\n    - path: data/out.csv\n      md5: 0f\n"
    (folder / "dvc.lock").write_text(lock, "utf-8")
    assert identities(["data/out.csv"], folder, FileDigests()).files == {"data/out.csv": "md5:0f"}
