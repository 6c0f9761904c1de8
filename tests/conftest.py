"""What the whole suite does with its tests.

``--failing-world``, ``--attacks``, ``--browsers``: a whole suite, not only its short part; the last line is JSON.

A test fails where ``say`` met a code that it does not know, or values that do not fill the code's text, unless it is marked
``unknown_code``: no code may reach a reader bare, whatever table or file it came through.
"""

import json
import os
from collections.abc import Generator, Mapping

import pytest

from wording import Shown, text

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a room's processes start as an installed program does, with compiled modules

bare_codes: list[str] = []  # that ``say`` could only show as they are, since somebody last looked
_shown_bare = text._unknown


def _noted(code: str, values: Mapping[str, object]) -> Shown:
    told = _shown_bare(code, values)
    bare_codes.append(told)
    return told


text._unknown = _noted


def _look(item: pytest.Item) -> None:
    met = [*bare_codes]
    bare_codes.clear()
    if met and not item.get_closest_marker("unknown_code"):
        pytest.fail(f"said without a text of the catalogue: {sorted(set(met))}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    yield
    _look(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    yield
    _look(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    _look(item)


# Option to the marker of the tests that it alone runs, and what the suite is.
SUITES = {
    "--failing-world": ("whole", "everything that can go wrong in a room"),
    "--attacks": ("attack", "everything that people may do to a room"),
    "--browsers": ("browser", "the disc's page that checks it, in real browsers"),
}
WHOLE_ROOMS = (
    "tests/room/",
    "tests/failing_world/",
    "tests/attacks/",
    "tests/agent/selfcheck/test_room",
)  # each starts all of a room


def whole_suite(config: pytest.Config) -> bool:
    """Whether one of the long suites was asked for."""
    return any(config.getoption(option, default=False) for option in SUITES)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rooms", choices=("only", "without"), help="the tests of whole rooms, which fill two cores, or the others")
    for option, (_, what) in SUITES.items():
        parser.addoption(option, action="store_true", help=f"{what}, not the short part")


def pytest_configure(config: pytest.Config) -> None:
    for option, (marker, _) in SUITES.items():
        config.addinivalue_line("markers", f"{marker}: too long for every change; run by {option}")
    config.addinivalue_line("markers", "longest: begun before all others, so that the workers end together")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if whole_suite(config):
        items.sort(key=lambda item: item.get_closest_marker("longest") is None)
        return
    rooms = config.getoption("--rooms")
    wanted = [
        item
        for item in items
        if not any(item.get_closest_marker(marker) for marker, _ in SUITES.values())
        and rooms in (None, "only" if item.nodeid.startswith(WHOLE_ROOMS) else "without")
    ]
    kept = {item.nodeid for item in wanted}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = wanted


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The count as one JSON line, behind everything that pytest says itself."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not whole_suite(config) or hasattr(config, "workerinput") or reporter is None:
        return
    counted = {word: len(reporter.stats.get(word, [])) for word in ("passed", "failed", "error", "skipped")}
    failed = counted["failed"] + counted["error"]
    print(json.dumps({"passed": counted["passed"], "failed": failed, "skipped": counted["skipped"]}))
