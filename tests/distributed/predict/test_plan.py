"""A folder has one plan, which later calls go on with."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distributed.predict.drawn import encoded, write_parquet, write_tar
from doctor_derma.bundle import BundleInfo, read_info
from doctor_derma.distributed.predict.plan import BLOCK_BYTES, Plan, Sizes, check_folder, open_plan
from doctor_derma.distributed.predict.shards import Shards, locked, row_schema
from doctor_derma.distributed.predict.stages import PackedBundle
from doctor_derma.errors import DermaError
from tiny_bundle import BETWEEN


@pytest.fixture
def info(bundle: Path) -> BundleInfo:
    return read_info(bundle)


def plan(out: Path, source: Path, info: BundleInfo, **changes: Any) -> Plan:
    return open_plan(out, [str(source)], info, Sizes(**{"unit": 8, "block": 4} | changes))


def test_a_plan_is_gone_on_with(
    tmp_path: Path, pictures: Path, info: BundleInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan(tmp_path / "out", pictures, info)
    assert sum(unit.pictures or 0 for unit in first.units) == 40
    (pictures / "new.jpg").write_bytes(encoded(99))
    monkeypatch.chdir(pictures)
    assert plan(tmp_path / "out", Path(), info) == first


def test_a_plan_comes_back_as_it_was_made(tmp_path: Path, info: BundleInfo) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / os.fsdecode(b"not utf-8 \xff.jpg")).write_bytes(encoded(1))
    write_tar(folder / "a.tar", [])
    write_parquet(folder / "b.parquet", {"image": [encoded(seed) for seed in range(9)]}, group=3)
    first = plan(tmp_path / "out", folder, info)
    assert [unit.kind for unit in first.units] == ["tar", "files", "parquet"]
    assert plan(tmp_path / "out", folder, info) == first

    path = tmp_path / "out" / "plan.json"
    assert path.read_bytes().isascii()
    fields = json.loads(path.read_text()) | {"format": 2}
    for unit in fields["units"]:
        unit["places"] = unit.pop("uris")  # as the first release wrote it
    path.write_text(json.dumps(fields))
    assert plan(tmp_path / "out", folder, info) == first


def test_a_packed_bundle_decides_as_it_was_told(bundle: Path) -> None:
    picture = Image.new("RGB", (20, 20), BETWEEN)
    for rule, costs, label in (
        (None, None, "nv"),
        ("balanced", None, "mel"),
        (None, {"vasc": {"nv": 90.0, "mel": 90.0}}, "vasc"),
    ):
        packed = PackedBundle.pack(bundle, rule, costs)
        [prediction] = packed.load().predict(picture)
        assert prediction.label == label
        assert packed.info.decision.default == prediction.rule
    with pytest.raises(DermaError, match="no threshold for melanoma"):
        PackedBundle.pack(bundle, "melanoma-first")


def test_a_block_fits_the_memory(tmp_path: Path, pictures: Path, info: BundleInfo) -> None:
    large = info.model_copy(update={"input": info.input.model_copy(update={"height": 2000})})
    found = plan(tmp_path / "large", pictures, large, block=None)
    assert found.block * 2000 * info.input.width * 3 <= BLOCK_BYTES
    assert found.block < plan(tmp_path / "small", pictures, info, block=None).block == 1024


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": 5}, "blocks of 4 pictures, not 5"),
        ({"unit": 5}, "units of 8 pictures, not 5"),
        ({"sha": "f" * 64}, "another model"),
        ({"rule": "balanced"}, "plans labels by the rule 'most-probable'"),
        ({"source": "0"}, "plans the prediction of"),
        ({"block": -1}, "block: -1 is too few"),
    ],
)
def test_another_plan_is_refused(
    tmp_path: Path, pictures: Path, info: BundleInfo, change: dict[str, Any], message: str
) -> None:
    plan(tmp_path / "out", pictures, info)
    before = (tmp_path / "out" / "plan.json").read_bytes()
    weights = info.weights.model_copy(update={"sha256": change.pop("sha", info.weights.sha256)})
    info = info.model_copy(update={"weights": weights}).deciding(change.pop("rule", None))
    with pytest.raises(DermaError, match=message):
        plan(tmp_path / "out", pictures / change.pop("source", "."), info, **change)
    assert (tmp_path / "out" / "plan.json").read_bytes() == before


def test_a_folder_of_other_files_is_refused(
    tmp_path: Path, pictures: Path, info: BundleInfo
) -> None:
    with pytest.raises(DermaError, match=r"holds other files and no plan\.json"):
        check_folder(pictures)
    with pytest.raises(DermaError, match="a file"):
        check_folder(pictures / "0" / "p0000.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".left-over").write_bytes(b"")
    plan(tmp_path / "planned", pictures, info)
    for folder in ("new", "empty", "planned"):
        check_folder(tmp_path / folder)


def test_a_damaged_plan_is_refused(tmp_path: Path, pictures: Path, info: BundleInfo) -> None:
    plan(tmp_path / "out", pictures, info)
    for text in ("{", "{}", '{"format": 1}', '{"format": 2, "units": [{}]}'):
        (tmp_path / "out" / "plan.json").write_text(text)
        with pytest.raises(DermaError, match="can't be read"):
            plan(tmp_path / "out", pictures, info)


def test_one_call_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DermaError, match="another call"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_unit_is_whole_with_its_last_block_and_all_before(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.write(0, 2, True, b"x")
    shards.write(0, 0, False, b"x")
    assert shards.missing(2) == [0, 1]
    (tmp_path / "predictions" / ".left-over.parquet").write_bytes(b"half")
    again = Shards(tmp_path)
    assert again.done(0) == [0, 2]
    again.write(0, 1, False, b"x")
    assert again.missing(2) == [1]
    assert len(Shards(tmp_path)) == 3
    assert len(list((tmp_path / "predictions").iterdir())) == 3


def test_a_class_called_as_a_column_is_refused(info: BundleInfo) -> None:
    twice = info.classes[0].model_copy(update={"name": "error"})
    with pytest.raises(DermaError, match="called 'error'"):
        row_schema(info.model_copy(update={"classes": (twice, *info.classes[1:])}))
