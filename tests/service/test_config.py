"""Unknown environment variables are rejected with the nearest setting."""

import pytest

from service.config import PREFIX, RENAMED, Settings


def refusal(name: str) -> str:
    """Return the error for a variable that is no setting."""
    with pytest.raises(ValueError, match="unknown setting") as caught:
        Settings.from_env({name: "1"})
    return str(caught.value)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_every_old_setting_is_refused_with_its_new_name(old: str, new: str) -> None:
    assert refusal(PREFIX + old) == f"unknown setting {PREFIX}{old}: it is called {PREFIX}{new}"
    assert new.lower() in Settings.model_fields
    assert old.lower() not in Settings.model_fields


def test_old_setting_in_lower_case_is_recognised() -> None:
    assert refusal("HOURGLASS_patience") == (
        "unknown setting HOURGLASS_patience: it is called HOURGLASS_WATCHDOG_TIMEOUT"
    )


def test_the_nearest_setting_is_suggested() -> None:
    assert refusal("HOURGLASS_PROT") == "unknown setting HOURGLASS_PROT; did you mean HOURGLASS_PORT?"


def test_unknown_setting_points_to_the_list() -> None:
    assert refusal("HOURGLASS_XYZZY") == "unknown setting HOURGLASS_XYZZY; `hourglass serve --help` lists all"
