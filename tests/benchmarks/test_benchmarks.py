"""The benchmarks: their models serve, their requests get 200, and the guard reports regressions."""

import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from benchmarks import fixtures, load_cases, process_cases, processor, report
from benchmarks.load import Request, load
from benchmarks.load_cases import Case, Sample
from benchmarks.peers.__main__ import request_of
from benchmarks.report import Row, markdown, regressions
from service.config import Settings
from service.http.app import create_app
from service.http.dispatcher import Dispatcher
from tests.conftest import listening, wait_for_models

GOOD = {
    "png": load_cases.PNG,
    "form": load_cases.FORM,
    "json": load_cases.TEXT,
    "code": load_cases.CODE,
    "npy": process_cases.ARRAY,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return settings for the models of the benchmarks."""
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.publish_all(folder)
    return Settings(models_dir=folder, model_watch="off", default_denoise="dense")


def case(better: str, goal: float = 1.0) -> Case:
    return Case("x", "a case", goal, "higher" if better == "higher" else "lower", "", lambda _: Sample(1.0, ""))


@pytest.mark.parametrize("name", GOOD)
def test_benchmark_requests_are_answered_by_its_models(settings: Settings, name: str) -> None:
    request = GOOD[name]
    with TestClient(Dispatcher(create_app(settings))) as client:
        wait_for_models(client)
        assert client.get("/models").json()["rejected"] == []
        answer = client.post(request.path, content=request.body, headers={"content-type": request.content_type})
        assert answer.status_code == 200
        broken = process_cases.BROKEN
        refused = client.post(broken.path, content=broken.body, headers={"content-type": broken.content_type})
        assert refused.status_code == 422


def test_peer_request_contains_the_same_picture() -> None:
    form = request_of({"body": "multipart", "path": "/denoise", "field": "file"})
    assert load_cases.PICTURE in form.body
    assert b'name="file"' in form.body
    tensor = json.loads(request_of({"body": "oip-json", "path": "/x"}).body)["inputs"][0]
    assert len(tensor["data"]) == 28 * 28
    assert tensor["shape"] == [1, 28, 28, 1]
    binary = request_of({"body": "oip-binary", "path": "/x", "content_type": "application/octet-stream"})
    head = int(dict(binary.headers)["Inference-Header-Content-Length"])
    assert list(binary.body[head:]) == tensor["data"]


def test_table_shows_median_round_and_missed_targets() -> None:
    samples = [Sample(0.5, "slow"), Sample(0.9, "middle"), Sample(2.0, "fast")]
    shown = markdown([Row(case("higher"), samples), Row(case("lower"), samples)])
    assert shown.count("middle") == 2
    assert shown.count("(missed)") == 1


def test_guard_reports_regressions(tmp_path: Path) -> None:
    folder = tmp_path / "a-processor"
    report.store([Row(case("higher"), [Sample(1.0, "")])], "a machine", folder)
    assert {path.name for path in folder.iterdir()} == {"serving.json", "serving.md", "serving.png"}
    stored = report.stored_ratios(folder)
    assert regressions([Row(case("higher"), [Sample(0.9, "")])], 0.15, stored) == []
    assert len(regressions([Row(case("higher"), [Sample(0.0, "")])], 0.15, stored)) == 1
    assert "7 requests" in regressions([Row(case("higher"), [Sample(3.0, "", failed=7)])], 0.15, stored)[0]
    assert len(regressions([Row(case("higher"), [Sample(0.8, "")])], 0.15, stored)) == 1
    assert len(regressions([Row(case("lower"), [Sample(1.2, "")])], 0.15, stored)) == 1


def test_guard_needs_a_run_of_its_own_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "RESULTS", tmp_path)
    report.store([Row(case("higher"), [Sample(1.0, "")])], "a machine", tmp_path / "intel-xeon-amx")
    with pytest.raises(report.NoStoredRun, match="no stored run of amd-epyc-avx2, only of intel-xeon-amx"):
        report.stored_ratios(tmp_path / "amd-epyc-avx2")


@pytest.mark.parametrize(
    ("name", "flags", "kind"),
    [
        ("Intel(R) Xeon(R) Processor", "avx2 avx512f avx512_vnni amx_int8", "intel-xeon-amx"),
        ("AMD EPYC", "avx2 avx512f avx512_vnni", "amd-epyc-avx512-vnni"),
        ("AMD EPYC 7763 64-Core Processor", "avx2", "amd-epyc-7763-avx2"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "sse2", "intel-core-i7-8650u"),
    ],
)
def test_kind_of_processor_has_its_instructions(tmp_path: Path, name: str, flags: str, kind: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(2 * f"processor : 0\nmodel name\t: {name}\nflags\t\t: fpu {flags}\n\n")
    assert processor.processor_kind(info) == kind
    assert processor.processor_names(info) == [name, name]


def test_kind_without_cpuinfo_is_that_of_the_platform(tmp_path: Path) -> None:
    assert processor.processor_kind(tmp_path / "none")


@pytest.mark.skipif(not (shutil.which("wrk") and shutil.which("taskset")), reason="wrk is not installed")
def test_run_counts_responses_and_failures(settings: Settings, tmp_path: Path) -> None:
    with listening(settings) as address:
        port = int(address.rpartition(":")[2])
        good = load(port, load_cases.PNG, connections=2, seconds=1, cores="0", folder=tmp_path)
        missing = Request("/denoise?model=nobody", b"x", "image/png")
        bad = load(port, missing, connections=2, seconds=1, cores="0", folder=tmp_path)
    assert good.rate > 0
    assert good.failed == 0
    assert 0 < good.p50 <= good.p99
    assert bad.failed > 0
