"""A ratchet: tests reach into another object's private parts no more often than they did, and the number only falls.

Counted is each attribute whose name begins with one underscore and that is not asked of ``self`` or ``cls``, such as
``track._storing``. Version 0.1.0 had 215.

To lower the number, give the part of the product a way in that is public: pass it its clock, source, disk or socket, or make
public what the test must see. Then set LIMIT to the number that this test prints. LIMIT is never raised.
"""

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
LIMIT = 181
OWN = {"self", "cls"}


def accesses(source: str) -> int:
    """How often a file reaches into another object's private parts."""
    return sum(
        isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in OWN)
        for node in ast.walk(ast.parse(source))
    )


def counted() -> Counter[str]:
    """The number of each file."""
    paths = TESTS.rglob("*.py")
    return Counter({str(path.relative_to(TESTS)): accesses(path.read_text(encoding="utf-8")) for path in paths})


def test_the_number_never_grows() -> None:
    found = counted()
    most = ", ".join(f"{name} {count}" for name, count in found.most_common(5))
    assert found.total() <= LIMIT, f"{found.total()} accesses, at most {LIMIT} are allowed; most: {most}"


def test_every_access_is_counted_and_nothing_else() -> None:
    counted_as_two = "hand.track._storing._journal"
    assert accesses(counted_as_two) == 2
    assert accesses("module._part = 1") == 1 == accesses("f()._part") == accesses("self.track._part")
    for own in ("self._part", "cls._part", "x.__dict__", "x.__class__", "_part", "x.part", "x['_part']", '"x._part"'):
        assert accesses(own) == 0, own


def test_the_tests_are_found() -> None:
    found = counted()
    assert found["test_private_parts.py"] == 0 and len(found) > 150
