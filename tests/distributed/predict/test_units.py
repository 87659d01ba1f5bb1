"""Units hold every picture once, whatever there is."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from distributed.predict.drawn import encoded, write_parquet
from doctor_derma.distributed.predict.units import join_groups, make_units

names = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=8)
uris = st.lists(
    st.tuples(names, st.sampled_from([".jpg", ".png", ".tar", ".tar.gz"])).map("".join), unique=True
)


@given(uris, st.integers(1, 9))
def test_each_file_is_in_one_unit(found: list[str], size: int) -> None:
    units = make_units(found, size)
    assert sorted(uri for unit in units for uri in unit.uris) == sorted(found)
    for unit in units:
        assert 1 <= len(unit.uris) <= (size if unit.kind == "files" else 1)
        assert (unit.kind == "tar") == (".tar" in unit.uris[0][-7:])


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 50))
def test_each_row_is_in_one_run_of_groups(rows: list[int], size: int) -> None:
    runs = list(join_groups(rows, size))
    assert sum(count for *_, count in runs) == sum(rows)
    end = 0
    for (start, after), first, count in runs:
        assert start == end < after
        assert first == sum(rows[:start])
        assert count == sum(rows[start:after]) > 0
        # Long enough, and not by a group too many.
        assert count >= size or sum(rows[after:]) == 0
        assert count - rows[after - 1] < size
        end = after


def test_parquet_is_divided_at_its_row_groups(tmp_path: Path) -> None:
    data = [encoded(seed) for seed in range(20)]
    path = write_parquet(tmp_path / "a.parquet", {"image": data}, group=4)
    (tmp_path / "bad.parquet").write_bytes(b"no Parquet")
    units = make_units([str(path), f"{tmp_path}/bad.parquet"], 6)
    assert [(unit.groups, unit.first, unit.pictures) for unit in units] == [
        ((0, 2), 0, 8),
        ((2, 4), 8, 8),
        ((4, 5), 16, 4),
        (None, 0, None),
    ]
