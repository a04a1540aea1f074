"""Settings whose extra is missing: a sentence says how to install it, but not by the name taken on the index."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from service import setting_types
from service.config import Settings
from service.extras import install_extra
from service.server import grpc_port
from service.telemetry import tracing_switch


def absent(_: str) -> None:
    """Find no module, as where no extra is installed."""


@pytest.mark.parametrize(
    ("setting", "value", "extra"),
    [
        ("models_dir", "s3://bucket/models", "hub"),
        ("trusted_keys", "A" * 43 + "=", "hub"),
        ("image_formats", "png,heif", "heif"),
    ],
)
def test_a_setting_names_its_extra(monkeypatch: pytest.MonkeyPatch, setting: str, value: str, extra: str) -> None:
    monkeypatch.setattr(setting_types, "find_spec", absent)
    values: dict[str, Any] = {setting: value}
    with pytest.raises(ValueError, match=setting) as raised:
        Settings(**values)
    assert install_extra(extra) in str(raised.value)


def test_the_port_of_grpc_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_port, "find_spec", absent)
    with pytest.raises(
        ValueError, match=r"install the extra grpc: pip install '\.\[grpc\]' in the checkout of Hourglass"
    ):
        grpc_port.check_grpc_port(Settings(grpc_port=8001))


@pytest.mark.usefixtures("uncached_loggers")
def test_tracing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_switch, "find_spec", absent)
    with capture_logs() as logs:
        assert tracing_switch.create_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}) is None
    assert [install_extra("otel") in line["reason"] for line in logs] == [True]
