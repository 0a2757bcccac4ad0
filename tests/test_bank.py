import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from sbi_kit.bank import Bank, usable_rows
from sbi_kit.checks import BadValue
from sbi_kit.data import Exchangeable, Vector
from sbi_kit.prior import Prior, Uniform
from sbi_kit.simulation import simulate
from sbi_kit.simulator import Simulator

SHARD = "000000000000.safetensors"


def ragged(*, bad=None, failing=None, n=(2, 6)):
    """x ~ N(mu, sd); `bad` and `failing` say for which theta it gives NaN or raises."""

    def run(theta, rng, n):
        x = rng.normal(theta[:, :1, None], theta[:, 1:, None], (len(theta), n, 1))
        x = np.concatenate([x, rng.random(x.shape)], axis=2)
        if failing is not None and failing(theta).any():
            raise ZeroDivisionError("no such outbreak")
        if bad is not None:
            x[bad(theta), -1, 1] = np.nan
        return x

    prior = Prior(mu=Uniform(-1, 1), sd=Uniform(0.5, 2))
    data = Exchangeable(columns=("x", "y"), n=n)
    return Simulator(name="ragged", prior=prior, data=data, simulate=run)


def make(path=None, rows=95, **kwargs):
    return simulate(
        ragged(**kwargs), rows, seed=3, path=path, chunk_rows=10, shard_rows=30, skip_failures=True
    )


def edit(path, change):
    lines = path.read_text().splitlines()
    path.write_text("".join(line + "\n" for line in change(lines)))


def test_opened_bank_equals_the_one_in_memory(tmp_path):
    memory, disk = make(), make(tmp_path / "bank")
    again = Bank.open(tmp_path / "bank")
    for bank in (disk, again):
        assert np.array_equal(bank.theta, memory.theta)
        assert np.array_equal(bank.n, memory.n)
        assert np.array_equal(bank.flat(slice(None))[0], memory.flat(slice(None))[0])
    assert (len(again), again.seed, again.data) == (95, 3, memory.data)
    assert again.prior.names == ("mu", "sd")
    assert again.simulator == {"name": "ragged", "settings": None}
    assert again.model is None
    assert disk.model is not None
    assert memory.path is None
    assert again.path == tmp_path / "bank"
    assert set(again.n) <= set(range(2, 7))
    assert len(set(again.n)) > 1


def test_take_and_flat_agree_with_a_loop(tmp_path):
    bank = make(tmp_path / "bank")
    everything, offsets = bank.flat(slice(None))
    tables = [everything[a:b] for a, b in pairwise(offsets)]
    rows = np.random.default_rng(0).permutation(np.r_[np.arange(95), 7, 7, 60])
    theta, x = bank.take(rows)
    values, ends = bank.flat(rows)
    assert np.array_equal(theta, bank.theta[rows])
    assert np.array_equal(ends, np.r_[0, np.cumsum(bank.n[rows])])
    assert np.array_equal(values, np.concatenate([tables[row] for row in rows]))
    assert x.values.shape == (98, bank.n.max(), 2)
    assert np.array_equal(x.n, bank.n[rows])
    for table, row in zip(x.each(), rows, strict=True):
        assert np.array_equal(table, tables[row])
    assert not x.values[~x.mask].any()


@pytest.mark.parametrize(("observations", "chunks"), [(1, 95), (60, 10), (10_000, 1)])
def test_chunks_are_rows_in_order_and_no_more_than_asked_for(observations, chunks):
    bank = make()
    rows = np.random.default_rng(0).permutation(95)
    found = list(bank.chunks(rows, observations=observations))
    assert len(found) == chunks
    assert np.array_equal(np.concatenate([part.n for part in found]), bank.n[rows])
    assert all(len(part) * 6 <= max(6, observations) for part in found)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ([], []),
        (-1, [94]),
        (slice(90, None), [90, 91, 92, 93, 94]),
        (np.arange(95) == 31, [31]),
    ],
)
def test_every_way_of_naming_rows(asked, same):
    bank = make()
    assert np.array_equal(bank.take(asked)[0], bank.theta[same])
    assert np.array_equal(bank.flat(asked)[0], bank.flat(np.array(same, dtype=int))[0])


def test_rows_that_are_not_there():
    with pytest.raises(BadValue, match="Expected rows of a bank of 95; got index 95"):
        make().take([3, 95])


def test_table_has_every_usable_dataset_in_a_row(tmp_path):
    make(tmp_path / "bank", n=4, bad=lambda t: t[:, 0] > 0.9)
    bank = Bank.open(tmp_path / "bank")
    with pytest.warns(UserWarning, match="of 95 simulations are unusable"):
        table = bank.table()
    assert 0 < len(bank.usable) < 95
    expected = [each.ravel() for each in bank.take(bank.usable)[1].each()]
    assert np.array_equal(table, expected)  # (rows, 4 * 2), observation after observation


def test_datasets_of_many_sizes_make_no_table():
    with pytest.raises(BadValue, match=r"datasets of one size, .*; got 2 to 6 observations; sim"):
        make().table()


def test_vector_layout_has_one_observation():
    def run(theta, rng):
        return 10 * theta + rng.random((len(theta), 2))

    prior = Prior(a=Uniform(0, 1), b=Uniform(0, 1))
    model = Simulator(name="v", prior=prior, data=Vector(columns=("s", "t")), simulate=run)
    bank = simulate(model, 20, seed=1)
    assert bank.n.tolist() == [1] * 20
    theta, x = bank.take([5, 2])
    assert np.all((x.values[:, 0] >= 10 * theta) & (x.values[:, 0] <= 10 * theta + 1))
    assert x.values.shape == (2, 1, 2)


def test_more_shards_than_are_kept_open(tmp_path, monkeypatch):
    model = ragged()
    path = tmp_path / "bank"
    bank = simulate(model, 150, seed=1, path=path, chunk_rows=1, shard_rows=1)
    memory = simulate(model, 150, seed=1, chunk_rows=1, shard_rows=1)
    rows = np.random.default_rng(1).permutation(150)
    assert np.array_equal(bank.flat(rows)[0], memory.flat(rows)[0])
    assert len(bank._mapped) == 64
    bank.release()
    assert not bank._mapped
    monkeypatch.setattr("sbi_kit.bank._BYTES", 8 * 2 * 6 * 5)  # five of the largest shards
    assert np.array_equal(bank.flat(rows)[0], memory.flat(rows)[0])
    assert 5 <= len(bank._mapped) <= 15
    monkeypatch.setattr("sbi_kit.bank._BYTES", 1)
    assert np.array_equal(bank.flat(rows)[0], memory.flat(rows)[0])
    assert len(bank._mapped) == 1


def test_readers_in_threads_agree(tmp_path):
    bank = Bank(**_parts(make(tmp_path / "bank")))
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda _: float(bank.flat(slice(None))[0].sum()), range(8)))
    assert len(set(sums)) == 1


def _parts(bank):
    names = ("header", "prior", "data", "failures", "path", "model")
    return {"blocks": bank.blocks, **{name: getattr(bank, name) for name in names}}


def test_index_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        make().theta[0] = 0


# Files that were changed


def test_no_bank(tmp_path):
    with pytest.raises(
        BadValue, match=r"Expected a bank with a manifest.jsonl; got none in .*nix;"
    ):
        Bank.open(tmp_path / "nix")


def test_truncated_shard(tmp_path):
    make(tmp_path / "bank")
    shard = tmp_path / "bank" / SHARD
    for size in (shard.stat().st_size - 1, 100, 4, 0):
        os.truncate(shard, size)
        with pytest.raises(BadValue, match=rf"shard .*{SHARD}.* bytes.*restore it"):
            Bank.open(tmp_path / "bank")
    shard.unlink()
    with pytest.raises(BadValue, match="got no file"):
        Bank.open(tmp_path / "bank")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"dtype":"F64","shape":[30,2]', b'"dtype":"F64","shape":[60,1]'),
        (b'"dtype":"U8"', b'"dtype":"I8"'),
        (b'"theta"', b'"thexa"'),
        (b'{"', b'["'),
    ],
)
def test_edited_shard_header(tmp_path, old, new):
    make(tmp_path / "bank")
    shard = tmp_path / "bank" / SHARD
    content = shard.read_bytes()
    assert old in content
    shard.write_bytes(content.replace(old, new, 1))
    with pytest.raises(BadValue, match=f"shard .*{SHARD}.*a damaged header"):
        Bank.open(tmp_path / "bank")


def test_verify_finds_one_changed_bit(tmp_path):
    bank = make(tmp_path / "bank")
    bank.verify()
    shard = tmp_path / "bank" / "000000000030.safetensors"
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(BadValue, match=r"000000000030.safetensors.*another checksum"):
        Bank.open(tmp_path / "bank").verify()


def test_edited_offsets_are_noticed_when_read(tmp_path):
    make(tmp_path / "bank")
    shard = tmp_path / "bank" / SHARD
    content = shard.read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:head])["offsets"]["data_offsets"]
    place = head + entry[0]
    shard.write_bytes(content[:place] + b"\xff" * 16 + content[place + 16 :])
    with pytest.raises(BadValue, match="offsets and statuses of rows 0 to 29"):
        _ = Bank.open(tmp_path / "bank").theta


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/etc/passwd", "x.pkl", "000000000001.safetensors"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    path = tmp_path / "bank"
    make(path)
    manifest = path / "manifest.jsonl"
    edit(manifest, lambda lines: [line.replace(SHARD, name) for line in lines])
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for action in (lambda: Bank.open(path), lambda: make(path, rows=200)):
        with pytest.raises(BadValue, match="got the shard name"):
            action()
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bank"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], r"begin with a header of format 'sbi_kit.bank'; got None"),
        (lambda lines: lines[1:], r"begin with a header of format 'sbi_kit.bank'; got None"),
        (
            lambda lines: [lines[0].replace('"version": 1', '"version": 2'), *lines[1:]],
            "a bank of format version 1; got version 2",
        ),
        (lambda lines: [*lines[:2], "{]", *lines[2:]], "line 3 of .* got no JSON object"),
        (lambda lines: ["[" * 100_000, *lines], "line 1 of .* got no JSON object"),
        (
            lambda lines: [lines[0], lines[1].replace('"ok": 30', '"ok": 31'), *lines[2:]],
            "line 2 of .* counts that are not its rows'",
        ),
        (
            lambda lines: [*lines, lines[1].replace('"stop": 30', '"stop": "30"')],
            "line 6 of .* other fields",
        ),
        (
            lambda lines: [*lines, lines[1].replace('a256": "', 'a256": "x')],
            "line 6 of .* no checksum",
        ),
        (
            lambda lines: [
                *lines,
                lines[1].replace('"ok": 30', '"ok": 31').replace('"stop": 30', '"stop": 31'),
            ],
            "line 6 of .* a second shard for the same rows",
        ),
        (
            lambda lines: [lines[0].replace('"Uniform"', '"Evil"'), *lines[1:]],
            "to name simulator, prior, data and seed",
        ),
        (
            lambda lines: [lines[0].replace('"columns"', '"colums"'), *lines[1:]],
            "to name simulator, prior, data and seed",
        ),
    ],
)
def test_edited_manifest(tmp_path, change, message):
    make(tmp_path / "bank")
    edit(tmp_path / "bank" / "manifest.jsonl", change)
    with pytest.raises(BadValue, match=message):
        Bank.open(tmp_path / "bank")


def test_duplicated_lines_and_a_torn_end_do_no_harm(tmp_path):
    path = tmp_path / "bank"
    whole = make(path)
    manifest = path / "manifest.jsonl"
    edit(manifest, lambda lines: [*lines, lines[2], lines[1]])
    assert len(Bank.open(path)) == 95
    manifest.write_bytes(manifest.read_bytes() + b'{"shard": "0000')
    assert np.array_equal(Bank.open(path).theta, whole.theta)


def test_rows_after_a_lost_line_do_not_count_and_come_back(tmp_path):
    path = tmp_path / "bank"
    whole = make(path)
    edit(path / "manifest.jsonl", lambda lines: [*lines[:2], *lines[3:]])
    assert len(Bank.open(path)) == 30
    assert np.array_equal(make(path).theta, whole.theta)
    assert len(Bank.open(path)) == 95


# Rows that cannot be used


def test_all_usable():
    bank = make()
    assert usable_rows(bank).tolist() == list(range(95))


def test_some_unusable_rows_give_one_warning():
    bank = make(bad=lambda t: t[:, 0] > 0.9, failing=lambda t: t[:, 1] > 1.9)
    expected = (bank.theta[:, 0] <= 0.9) & (bank.theta[:, 1] <= 1.9)
    assert set(bank.status) == {0, 1, 2}
    first = int(np.flatnonzero(~expected)[0])
    mu, sd = bank.theta[first]
    counts = [int(np.sum(bank.status == status)) for status in (1, 2)]
    with pytest.warns(UserWarning, match="unusable") as caught:
        rows = usable_rows(bank)
    assert rows.tolist() == np.flatnonzero(expected).tolist()
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(f"{sum(counts)} of 95 simulations are unusable ({counts[0]} hold NaN")
    assert f"and {counts[1]} failed)" in text
    assert f"row {first}: mu={mu:.6g}, sd={sd:.6g}" in text
    assert caught[0].filename == __file__


def test_too_many_unusable_rows_say_where_they_fall():
    bank = make(rows=400, bad=lambda t: t[:, 1] > 1.4)
    message = (
        r"at most 20% of the simulations unusable; got \d+ of 400 .* hold NaN or inf\); mu is .*"
        r"sd is 1\.[67]\d? \(5-95 % 1\.4.* to 1\.9.*\) in bad rows and 0\.9\d* .*sd separates"
    )
    with pytest.raises(BadValue, match=message):
        usable_rows(bank)
    with pytest.warns(UserWarning, match="of 400 simulations are unusable"):
        assert len(usable_rows(bank, bad_share=0.5)) == (bank.theta[:, 1] <= 1.4).sum()


def test_nothing_usable_gives_the_first_failure(tmp_path):
    bank = make(bad=lambda t: t[:, 0] < 9)
    with pytest.raises(BadValue, match=r"95 hold NaN or inf\); the first has mu=.*, sd="):
        usable_rows(bank)
    bank = make(bad=lambda t: t[:, 0] < 9, failing=lambda t: t[:, 0] < 0)
    with pytest.raises(BadValue, match=r"first failure is row .*: ZeroDivisionError: no such out"):
        usable_rows(bank)


def test_empty_bank(tmp_path):
    make(tmp_path / "bank")
    edit(tmp_path / "bank" / "manifest.jsonl", lambda lines: lines[:1])
    bank = Bank.open(tmp_path / "bank")
    assert (len(bank), bank.theta.shape, len(bank.take([])[1])) == (0, (0, 2), 0)
    with pytest.raises(BadValue, match="got an empty one"):
        usable_rows(bank)


def test_share_out_of_range():
    with pytest.raises(BadValue, match=r"bad_share as a finite number in \[0, 1\]; got 20"):
        usable_rows(make(), bad_share=20)


def test_failed_rows_keep_their_place_and_parameters():
    failing = make(failing=lambda t: t[:, 1] > 1.5)
    lost = failing.status == 2
    assert np.array_equal(lost, failing.theta[:, 1] > 1.5)
    assert not failing.n[lost].any()
    assert failing.n[~lost].all()
    _, x = failing.take(np.flatnonzero(lost)[:3])
    assert x.values.shape == (3, 1, 2)
    assert not x.mask.any()
    assert [record["row"] for record in failing.failures] == np.flatnonzero(lost).tolist()
