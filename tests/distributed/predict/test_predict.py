"""Prediction on Ray gives the rows of one machine, each once."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pyarrow.parquet as pq
import pytest

from distributed.predict.drawn import (
    assert_same,
    encoded,
    expected,
    files,
    write_parquet,
    write_tar,
    written,
)
from doctor_derma.bundle import read_info
from doctor_derma.distributed.cluster import cluster
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import predict_on_ray
from doctor_derma.distributed.predict.stages import PackedBundle
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows
from doctor_derma.inference.prediction import NOTICE

pytestmark = pytest.mark.usefixtures("ray_here")
SIZES = Sizes(unit=16, block=5)


@pytest.fixture
def site(pictures: Path) -> Iterator[str]:
    """The pictures in a store that is asked over a network."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(pictures))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_folder_is_predicted_as_on_one_machine(
    bundle: Path, classifier: Classifier, pictures: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jpg"
    out = tmp_path / "out"
    predicted = predict_on_ray([str(pictures), str(missing)], bundle, out, sizes=SIZES)
    wanted = sorted(predict_rows(classifier, [*files(pictures), missing]), key=lambda row: row.path)
    assert_same(written(out), wanted)
    assert (predicted.images, predicted.failed, predicted.skipped) == (41, 4, 0)
    assert {row.label for row in wanted} == {"mel", "nv", "vasc", None}
    shards = sorted((out / "predictions").iterdir())
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [5, 5, 5, 1, 5, 5, 5, 1, 5, 4]
    metadata = pq.read_schema(shards[0]).metadata
    assert metadata[b"weights_sha256"].decode() == read_info(bundle).weights.sha256
    assert metadata[b"notice"].decode() == NOTICE
    assert "not a medical device" in NOTICE

    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    again = predict_on_ray([str(pictures), str(missing)], bundle, out, sizes=SIZES)
    assert (again.images, again.failed, again.skipped) == (0, 0, 10)
    assert {shard: shard.stat().st_mtime_ns for shard in shards} == times


def test_shards_and_stores_are_predicted_and_broken_shards_named_at_the_end(
    bundle: Path, classifier: Classifier, pictures: Path, site: str, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    data = {path.name: path.read_bytes() for path in files(pictures)}
    names = sorted(data)
    members = [(name, data[name]) for name in names]
    plain = write_tar(shards / "a.tar", members[:18])
    packed = write_tar(shards / "b.tar.gz", members[18:27], "w:gz")
    structs = [{"bytes": data[name], "path": name} for name in names[27:]]
    write_parquet(shards / "c.parquet", {"image": structs})
    broken = shards / "d.tar"
    broken.write_bytes(plain.read_bytes()[:9000])
    (shards / "e.parquet").write_bytes(b"no Parquet")

    write_tar(pictures / "web.tar", [("x.jpg", encoded(1)), ("y.jpg", encoded(2))])
    given = [str(shards), f"{site}/0/*.jpg", f"{site}/web.tar", f"{site}/1/p0001.jpg"]

    with pytest.raises(DermaError, match=r"not read whole") as caught:
        predict_on_ray(given, bundle, tmp_path / "out", sizes=SIZES)
    message = str(caught.value)
    assert f"{broken} (" in message
    assert f"{shards}/e.parquet (" in message
    assert str(plain) not in message.replace(str(broken), "")

    sources = [(f"{plain}/{name}", picture) for name, picture in members[:18]]
    sources += [(f"{packed}/{name}", picture) for name, picture in members[18:27]]
    sources += members[27:]
    sources += [(f"{site}/0/{path.name}", path.read_bytes()) for path in files(pictures / "0")]
    sources += [
        (f"{site}/web.tar/{name}.jpg", encoded(seed)) for name, seed in (("x", 1), ("y", 2))
    ]
    sources += [(f"{site}/1/p0001.jpg", encoded(1))]
    found = written(tmp_path / "out")
    assert_same(
        [row for row in found if not row["path"].startswith(str(broken))],
        expected(classifier, sources),
    )
    # Mended, they are read by the same command, and nothing else is.
    write_tar(broken, members[:18])
    write_parquet(shards / "e.parquet", {"image": [data[name] for name in names[:2]]})
    kept = len(list((tmp_path / "out" / "predictions").iterdir()))
    predicted = predict_on_ray(given, bundle, tmp_path / "out", sizes=SIZES)
    assert predicted.skipped == kept
    sources += [(f"{broken}/{name}", picture) for name, picture in members[:18]]
    sources += [(f"{shards}/e.parquet#{number}", data[names[number]]) for number in (0, 1)]
    assert_same(written(tmp_path / "out"), expected(classifier, sources))
    assert len(found) + predicted.images == len(sources)


def test_another_model_is_refused_before_anything_is_predicted(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DermaError, match="no model bundle here"):
        predict_on_ray([str(pictures)], pictures, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_gpu_that_ray_has_not_is_told_before_anything_is_predicted(
    bundle: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_PROVIDERS", "cuda,cpu")
    with pytest.raises(DermaError, match="CUDAExecutionProvider needs a GPU, and Ray sees none"):
        predict_on_ray([str(pictures)], bundle, tmp_path / "out", sizes=SIZES)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_every_process_computes_as_the_command_was_told(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has one provider only")
    monkeypatch.setenv("DERMA_PROVIDERS", "azure,cpu")
    packed = PackedBundle.pack(bundle)
    # The machines of a cluster know nothing of the command's environment.
    monkeypatch.delenv("DERMA_PROVIDERS")
    assert packed.load().providers == ("AzureExecutionProvider", "CPUExecutionProvider")


def test_the_process_stays_in_its_ray_which_only_this_machine_sees() -> None:
    import ray

    with cluster():
        assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
    assert ray.is_initialized()
    with pytest.raises(DermaError, match="has joined the Ray cluster"), cluster("10.0.0.1:6379"):
        pass
