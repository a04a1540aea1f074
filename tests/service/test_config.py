"""Settings from the environment: what is ignored, what is read through quotes, what is refused and with which words."""

import re
from pathlib import Path

import pytest

from service.config import Settings
from service.environment import PREFIX, RENAMED, is_service_link, service_links
from tests.support.compatibility import accepts, refuses


def refusal(name: str) -> str:
    """Return the error for a variable that is no setting."""
    with pytest.raises(ValueError, match="unknown setting") as caught:
        Settings.from_env({name: "1"})
    return str(caught.value)


@refuses(28, "variables of earlier versions", because="the new name", cases="{old}")
@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_every_old_setting_is_refused_with_its_new_name(old: str, new: str) -> None:
    assert refusal(PREFIX + old) == f"unknown setting {PREFIX}{old}: it is called {PREFIX}{new}"
    assert new.lower() in Settings.model_fields
    assert old.lower() not in Settings.model_fields


def test_old_setting_in_lower_case_is_recognised() -> None:
    assert refusal("HOURGLASS_patience") == (
        "unknown setting HOURGLASS_patience: it is called HOURGLASS_WATCHDOG_TIMEOUT"
    )


@refuses(28, "a misspelt variable", because="the nearest")
def test_the_nearest_setting_is_suggested() -> None:
    assert refusal("HOURGLASS_PROT") == "unknown setting HOURGLASS_PROT; did you mean HOURGLASS_PORT?"


def test_unknown_setting_points_to_the_list() -> None:
    assert refusal("HOURGLASS_XYZZY") == "unknown setting HOURGLASS_XYZZY; `hourglass serve --help` lists all"


SERVICE_LINKS = {
    # https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    "HOURGLASS_SERVICE_HOST": "10.0.0.11",
    "HOURGLASS_SERVICE_PORT": "8000",
    "HOURGLASS_SERVICE_PORT_HTTP": "8000",
    "HOURGLASS_SERVICE_PORT_8000_TCP": "8000",
    "HOURGLASS_PORT": "tcp://10.0.0.11:8000",
    "HOURGLASS_PORT_8000_TCP": "tcp://10.0.0.11:8000",
    "HOURGLASS_PORT_8000_TCP_PROTO": "tcp",
    "HOURGLASS_PORT_8000_TCP_PORT": "8000",
    "HOURGLASS_PORT_8000_TCP_ADDR": "10.0.0.11",
    "HOURGLASS_PORT_8001_UDP_ADDR": "10.0.0.11",
    "HOURGLASS_PORT_8001_UDP": "udp://10.0.0.11:8001",
    "HOURGLASS_PORT_8001_SCTP_PROTO": "sctp",
    "HOURGLASS_GPU_SERVICE_HOST": "10.0.0.12",
    "HOURGLASS_GPU_PORT": "tcp://10.0.0.12:80",
    "HOURGLASS_GPU_PORT_80_TCP_ADDR": "10.0.0.12",
    "HOURGLASS_MODELS_DIR_V2_SERVICE_PORT": "80",
    "HOURGLASS_V6_SERVICE_HOST": "fd00::1",
    "HOURGLASS_V6_PORT": "tcp://[fd00::1]:8000",
    "HOURGLASS_V6_PORT_8000_TCP": "tcp://[fd00:10:96::1]:8000",
    "HOURGLASS_V6_PORT_8000_TCP_ADDR": "fd00:10:96::1",
    "HOURGLASS_OLD_V6_PORT": "tcp://fd00::1:8000",
    # https://docs.docker.com/engine/network/links/
    "HOURGLASS_NAME": "/web/hourglass",
    "HOURGLASS_CACHE_NAME": "/web/hourglass_cache",
    "HOURGLASS_CACHE_PORT_8000_TCP_START": "tcp://172.17.0.5:8000",
    "HOURGLASS_CACHE_PORT_8000_TCP_PORT_END": "8010",
    "HOURGLASS_ENV_PYTHON_VERSION": "3.12.1",
    "HOURGLASS_CACHE_ENV_HOURGLASS_PORT": "9000",
}


@accepts(
    19,
    "variables that Kubernetes and Docker add: they are ignored and logged",
    oracle="the default settings",
    cases="{name}={value}",
)
@pytest.mark.parametrize(("name", "value"), SERVICE_LINKS.items())
def test_a_variable_of_a_service_is_ignored(name: str, value: str) -> None:
    assert Settings.from_env({name: value}) == Settings()
    assert service_links({name: value, "PATH": "/bin"}) == [name]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_no_setting_is_taken_for_a_variable_of_a_service(name: str) -> None:
    values = ("8000", "10.0.0.1", "::1", "host", "/a/b", "tcp")
    assert not any(is_service_link(PREFIX + name.upper(), value) for value in values)


@refuses(19, "such a name with a value of another form", because="it may be a misspelt setting", cases="{name}={value}")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOURGLASS_SERVICE_HOST", "localhost"),
        ("HOURGLASS_GPU_PORT", "8000"),
        ("HOURGLASS_PORT_NUMBER", "8000"),
        ("HOURGLASS_NAME", "digits"),
        ("HOURGLASS_MODEL_PORT_TCP", "tcp://10.0.0.1:1"),
    ],
)
def test_a_name_of_a_service_with_another_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"unknown setting {name}"):
        Settings.from_env({name: value})


@accepts(19, "a flag or another spelling beside such a variable", oracle="the value")
def test_a_setting_of_another_spelling_or_a_flag_beats_a_service() -> None:
    link = {"HOURGLASS_PORT": "tcp://10.0.0.1:8000"}
    assert Settings.from_env(link | {"hourglass_port": "9000"}).port == 9000
    assert Settings.from_env(link, {"port": 9001}).port == 9001
    assert Settings.from_env({"HOURGLASS_PORT": "9000"}, {"port": 9001}).port == 9001


@accepts(19, "quotes, blanks and line ends of env files", oracle="the value", cases="{value}")
@pytest.mark.parametrize("value", ['"9000"', "'9000'", "9000\r", " 9000 ", "9000\n", '"9000"\r', '" 9000"', "\t9000"])
def test_quotes_and_blanks_of_env_files_are_removed(value: str) -> None:
    assert Settings.from_env({"HOURGLASS_PORT": value}).port == 9000


@accepts(19, "names with a byte order mark, a blank or in lower case", oracle="the value", cases="{name}")
@pytest.mark.parametrize("name", ["\ufeffHOURGLASS_PORT", "HOURGLASS_PORT ", "hourglass_port", "Hourglass_Port"])
def test_name_with_bom_or_in_lower_case_is_read(name: str) -> None:
    assert Settings.from_env({name: "9000"}).port == 9000


@accepts(19, "an empty value is the default", oracle="the default", cases="{value}")
@pytest.mark.parametrize("value", ["", '""', "''", " ", "\r"])
def test_an_empty_value_means_the_default(value: str) -> None:
    assert Settings.from_env({"HOURGLASS_PORT": value}).port == Settings().port


@refuses(19, "two spellings of a name with different values", because="both are named")
def test_two_spellings_with_different_values_are_refused() -> None:
    with pytest.raises(ValueError, match="HOURGLASS_PORT and hourglass_port have different values"):
        Settings.from_env({"HOURGLASS_PORT": "1", "hourglass_port": "2"})


@accepts(19, "usual spellings of values", oracle="the value", cases="{name}={value}")
@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("HOURGLASS_LOG_LEVEL", "INFO", "log_level", "info"),
        ("HOURGLASS_DEVICE", "CPU", "device", "cpu"),
        ("HOURGLASS_IMAGE_FORMATS", "PNG, jpg , tif", "image_formats", "png,jpeg,tiff"),
        ("HOURGLASS_ACCESS_LOG", "True", "access_log", True),
        ("HOURGLASS_ACCESS_LOG", "1", "access_log", True),
        ("HOURGLASS_ENABLE_DOCS", "off", "enable_docs", False),
        ("HOURGLASS_ENABLE_DOCS", "No", "enable_docs", False),
    ],
)
def test_values_are_understood_in_their_usual_spellings(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(Settings.from_env({name: value}), field) == expected


@refuses(
    28,
    "invalid values of variables",
    because="the variable, the kind of the value and what would do",
    cases="{name}={value}",
)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "HOURGLASS_PORT",
            "nine",
            "HOURGLASS_PORT in the environment is the text 'nine', "
            "but must be a whole number at least 0 and at most 65535, such as 8000",
        ),
        ("HOURGLASS_PORT", "http://10.0.0.1:8000", "is the URL 'http://10.0.0.1:8000', but must be a whole number"),
        ("HOURGLASS_PORT", "80.5", "is the number '80.5', but must be a whole number"),
        ("HOURGLASS_PORT", "70000", "is the whole number '70000', but must be a whole number at least 0 and at most"),
        ("HOURGLASS_WORKERS", "0", "is the whole number '0', but must be a whole number greater than 0, such as 1"),
        ("HOURGLASS_ACCESS_LOG", "maybe", "is the text 'maybe', but must be true or false, such as false"),
        ("HOURGLASS_DEVICE", "gpu 0", "is the text 'gpu 0', but must be auto, cpu, cuda or the name of another"),
        ("HOURGLASS_IMAGE_FORMATS", "png,xyz", "is the text 'png,xyz', but must be some of avif, bmp, gif, heif"),
        ("HOURGLASS_RATE_LIMIT", "often", "but must be a number of requests and a period, such as 100/minute"),
        ("HOURGLASS_REQUEST_TIMEOUT", "30s", "is the text '30s', but must be a number greater than 0, such as 30.0"),
        ("hourglass_port", "nine", "hourglass_port in the environment is the text 'nine'"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_kind(name: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Settings.from_env({name: value})


def test_default_cache_is_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    folder = Settings.model_validate({"models_dir": "hf://owner/repository"}).models_folder
    assert folder.parent == Path("/home/user/.cache/hourglass")


def test_user_without_home_folder_gets_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert Settings.model_validate({"api_keys_file": "~/keys"}).api_keys_file == Path("~/keys")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"HOURGLASS_RATE_LIMIT": "100/minute"},
            "HOURGLASS_RATE_LIMIT in the environment is the text '100/minute', but must be empty without "
            "HOURGLASS_API_KEYS_FILE, because requests are counted by their API keys",
        ),
        (
            {"HOURGLASS_TLS_KEY_FILE": "key.pem"},
            "HOURGLASS_TLS_KEY_FILE in the environment is the text 'key.pem', but must be empty without "
            "HOURGLASS_TLS_CERT_FILE, without which HTTP is not encrypted",
        ),
        (
            {"HOURGLASS_ACCESS_LOG": "true", "HOURGLASS_LOG_LEVEL": "warning"},
            "HOURGLASS_ACCESS_LOG in the environment is the text 'true', but must be false while HOURGLASS_LOG_LEVEL "
            "is warning, because its lines have the level info",
        ),
    ],
)
def test_a_setting_without_effect_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"HOURGLASS_RATE_LIMIT": "100/minute", "HOURGLASS_API_KEYS_FILE": "keys"},
        {"HOURGLASS_TLS_KEY_FILE": "key.pem", "HOURGLASS_TLS_CERT_FILE": "cert.pem"},
        {"HOURGLASS_ACCESS_LOG": "true", "HOURGLASS_LOG_LEVEL": "debug"},
        {"HOURGLASS_ACCESS_LOG": "false", "HOURGLASS_LOG_LEVEL": "error"},
        {"HOURGLASS_RATE_LIMIT": ""},
    ],
)
def test_a_setting_with_what_it_needs_is_accepted(environ: dict[str, str]) -> None:
    Settings.from_env(environ)
