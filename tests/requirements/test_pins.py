"""What the requirement files pin is read as it stands there."""

from pathlib import Path

import pytest

from requirements.pins import FOLDER, USES, normal, pins, read

ONE, OTHER = "ab" * 32, "cd" * 32
TEXT = f"""\
# made by pip-compile
Some_Package==1.2 ; python_full_version < '3.12' \\
    --hash=sha256:{OTHER} \\
    --hash=sha256:{ONE}
    # via
    #   -c requirements/run.txt
    #   interview-room-agent (pyproject.toml)
    #   other.one
alone==3 \\
    --hash=sha256:{ONE}
    # via some-package
"""


def test_name_version_marker_hashes_and_who_asks_for_it() -> None:
    first, second = read(TEXT, "dev")
    assert (first.name, first.version, first.marker) == ("some-package", "1.2", "python_full_version < '3.12'")
    assert (first.hashes, first.via) == ((ONE, OTHER), ("", "other-one"))
    assert (second.text, second.marker, second.via) == ("alone==3", "", ("some-package",))


@pytest.mark.parametrize("line", ["loose>=1\n", "unhashed==1\n", "-e .\n", f"short==1 \\\n    --hash=sha256:{ONE[:-1]}\n"])
def test_a_line_that_pins_nothing_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not a pinned requirement with hashes"):
        list(read(TEXT + line, "run"))
    with pytest.raises(ValueError, match="not a pinned requirement with hashes"):
        list(read(line + TEXT, "run"))


def test_every_pin_of_the_project_is_read() -> None:
    found = pins()
    names = {pin.name for pin in found}
    assert {"paho-mqtt", "av", "pydantic", "setuptools", "pytest"} <= names and len(found) > 50
    for use in USES:
        text = Path(FOLDER / f"{use}.txt").read_text(encoding="utf-8")
        assert len(list(read(text, use))) == len(
            [line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
        )
        assert sum(len(pin.hashes) for pin in read(text, use)) == text.count("--hash=sha256:")
    assert {pin.use for pin in found} == set(USES)
    assert next(pin for pin in found if pin.name == "paho-mqtt").use == "run"
    assert all(asking == "" or asking in names for pin in found for asking in pin.via)


def test_names_are_compared_in_one_form() -> None:
    assert normal("PyAudio") == "pyaudio" and normal("a__B.-c") == "a-b-c"
