"""The Grafana dashboard: its file is current and valid, and all its queries have data on a loaded service."""

import json
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import numpy as np
import pytest
import yaml

from deploy.grafana.generate import OUTPUT, dashboard, render
from deploy.grafana.panels import expressions
from tests.conftest import digit, png
from tests.support.corrupt_models import flip
from tests.support.environments import environment, tool
from tests.support.processes import free_port, serving
from tests.support.tiny_models import publish

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLES = {"$__rate_interval": "10s", "$__range": "1h", "$job": ".*", "$model": ".*"}
DATA_SECONDS = 120


def test_dashboard_file_is_current() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == render(), "run python -m deploy.grafana.generate"


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & cells
        assert max(x for x, _ in mine) < 24
        cells |= mine


def test_provisioned_sources_have_the_dashboards_type() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/datasources.yml").read_text())["datasources"]
    (default,) = (source for source in sources if source.get("isDefault"))
    assert {panel["datasource"]["type"] for panel in dashboard()["panels"] if "datasource" in panel} == {
        default["type"]
    }


def without_variables(expression: str) -> str:
    """Return an expression as Grafana sends it, with all jobs and models chosen."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@contextmanager
def scraping(target: str, folder: Path) -> Generator[Callable[[str], list[float]]]:
    """Run Prometheus with the shipped configuration, at intervals of one second, and yield a function that queries it.

    The function returns the current values of an expression that are numbers.
    """
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}", "--log.level=warn"]

    def query(expression: str) -> list[float]:
        reply = httpx2.get(f"http://{address}/api/v1/query", params={"query": expression}).json()
        assert reply["status"] == "success", (expression, reply)
        values = [float(series["value"][1]) for series in reply["data"]["result"]]
        return [value for value in values if not isnan(value)]

    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            end = monotonic() + 60
            while not _is_ready(address):
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                assert monotonic() < end
                sleep(0.1)
            yield query
        finally:
            process.terminate()


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"http://{address}/-/ready").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.slow
def test_every_query_has_data_on_a_loaded_service(tmp_path: Path) -> None:
    tool("prometheus")
    models = tmp_path / "models"
    for kind in ("digits", "photos"):
        publish(models, kind)
    flip(publish(models, "digits", version=2) / "encode.onnx")  # a version that is rejected
    picture = png(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    with serving(models) as (address, _), scraping(address.removeprefix("http://"), tmp_path) as query:
        missing = {without_variables(expression) for expression in expressions()}
        end = monotonic() + DATA_SECONDS
        while missing and monotonic() < end:
            for path, body in (
                ("/reconstruct?model=digits", png(digit())),
                ("/denoise?model=photos", picture),
                ("/encode?model=digits", b"no picture"),
            ):
                httpx2.post(f"{address}{path}", content=body, headers={"content-type": "image/png"})
            sleep(0.2)
            missing = {expression for expression in missing if not query(expression)}
        assert not missing
        assert not query("hourglass_no_such_metric")


SCHEMA_CHECK = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
print(JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))
"""


def lost_keys(source: Any, known: Any, place: str = "") -> list[str]:
    """Return the places of a JSON document that are missing or different in another."""
    if isinstance(source, dict) and isinstance(known, dict):
        return [
            lost
            for key, value in source.items()
            for lost in ([f"{place}/{key}"] if key not in known else lost_keys(value, known[key], f"{place}/{key}"))
        ]
    if isinstance(source, list) and isinstance(known, list) and len(source) == len(known):
        pairs = enumerate(zip(source, known, strict=True))
        return [lost for index, (one, other) in pairs for lost in lost_keys(one, other, f"{place}/{index}")]
    return [] if source == known else [place]


def unknown_to_grafana(document: dict[str, Any]) -> list[str]:
    """Return the places of a dashboard that the classes of Grafana's own SDK do not keep."""
    python = environment("grafana")
    completed = subprocess.run(
        [python, "-c", SCHEMA_CHECK], input=json.dumps(document), capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return lost_keys(document, json.loads(completed.stdout))


@pytest.mark.slow
def test_sdk_of_grafana_knows_every_key_of_the_dashboard() -> None:
    assert unknown_to_grafana(dashboard()) == []


@pytest.mark.slow
def test_sdk_of_grafana_drops_misspelt_keys() -> None:
    document = dashboard()
    chart = next(panel for panel in document["panels"] if panel["type"] == "timeseries")
    chart["titel"] = chart["targets"][0]["expresion"] = chart["options"]["legnd"] = "misspelt"
    index = document["panels"].index(chart)
    assert sorted(unknown_to_grafana(document)) == [
        f"/panels/{index}/options/legnd",
        f"/panels/{index}/targets/0/expresion",
        f"/panels/{index}/titel",
    ]
