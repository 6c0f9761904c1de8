"""The bill of materials: it is the one that the pins make, and it keeps to CycloneDX 1.5."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from requirements.pins import pins
from requirements.sbom import VENDORED, render

COMMITTED = Path(__file__).parents[2] / "docs" / "sbom.cdx.json"
TEXT = {"type": "string", "minLength": 1}


def form(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


LICENCES = {
    "oneOf": [
        {
            "type": "array",
            "items": form(["license"], license={"oneOf": [form(["id"], id=TEXT), form(["name"], name=TEXT)]}),
        },
        {"type": "array", "items": form(["expression"], expression=TEXT), "minItems": 1, "maxItems": 1},
    ]
}
COMPONENT = form(
    ["type", "name"],
    **{
        "type": {"enum": ["application", "framework", "library", "container", "platform", "operating-system", "device", "file"]},
        "bom-ref": TEXT,
        "name": TEXT,
        "version": TEXT,
        "scope": {"enum": ["required", "optional", "excluded"]},
        "hashes": {
            "type": "array",
            "uniqueItems": True,
            "items": form(["alg", "content"], alg={"const": "SHA-256"}, content={"type": "string", "pattern": "^[a-f0-9]{64}$"}),
        },
        "licenses": LICENCES,
        "purl": TEXT,
        "properties": {"type": "array", "items": form(["name"], name=TEXT, value=TEXT)},
    },
)
# Of the specification's schema (bom-1.5.schema.json), as strictly, the parts that this document uses.
DOCUMENT = form(
    ["bomFormat", "specVersion", "version"],
    bomFormat={"const": "CycloneDX"},
    specVersion={"const": "1.5"},
    serialNumber={
        "type": "string",
        "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    },
    version={"type": "integer", "minimum": 1},
    metadata=form([], component=COMPONENT),
    components={"type": "array", "uniqueItems": True, "items": COMPONENT},
    dependencies={
        "type": "array",
        "uniqueItems": True,
        "items": form(["ref"], ref=TEXT, dependsOn={"type": "array", "uniqueItems": True, "items": TEXT}),
    },
)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return found


def complaints(bill: dict[str, Any]) -> list[str]:
    """What breaks the schema, or the rules that a schema cannot say: references are unique and lead somewhere."""
    found = [f"{error.json_path}: {error.message[:80]}" for error in jsonschema.Draft7Validator(DOCUMENT).iter_errors(bill)]
    refs = [bill["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in bill["components"])]
    found += [f"{ref} twice" for ref in set(refs) if refs.count(ref) > 1]
    told = [each["ref"] for each in bill["dependencies"]]
    found += [f"{ref}: dependencies not told once" for ref in refs if told.count(ref) != 1]
    led = {ref for each in bill["dependencies"] for ref in (each["ref"], *each.get("dependsOn", []))}
    return found + [f"{ref} leads nowhere" for ref in led - set(refs)]


def test_the_committed_bill_is_the_one_that_the_pins_make() -> None:
    """Else: ``python -m requirements.sbom > docs/sbom.cdx.json``."""
    assert COMMITTED.read_text(encoding="utf-8") == render()


def test_it_keeps_to_cyclonedx_1_5(bill: dict[str, Any]) -> None:
    assert complaints(bill) == []


def test_every_pin_is_in_it_with_its_hashes(bill: dict[str, Any]) -> None:
    listed = {(each["name"], each["version"]): [h["content"] for h in each["hashes"]] for each in bill["components"]}
    own = {(name, version) for name, version, *_ in VENDORED}
    assert {key: hashes for key, hashes in listed.items() if key not in own} == {
        (pin.name, pin.version): list(pin.hashes) for pin in pins()
    }
    assert own <= listed.keys()
    assert all(re.fullmatch(r"pkg:(?:pypi/[a-z0-9-]+|npm/%40[a-z/0-9]+)@[A-Za-z0-9.]+", e["purl"]) for e in bill["components"])
    scopes = {each["name"]: each["scope"] for each in bill["components"]}
    assert (scopes["paho-mqtt"], scopes["pytest"], scopes["setuptools"]) == ("required", "excluded", "excluded")


def test_what_a_room_runs_with_is_asked_for_by_the_product(bill: dict[str, Any]) -> None:
    asks = {each["ref"]: set(each.get("dependsOn", [])) for each in bill["dependencies"]}
    waiting, reached = [bill["metadata"]["component"]["bom-ref"]], set[str]()
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += asks[ref]
    assert {each["bom-ref"] for each in bill["components"] if each["scope"] == "required"} <= reached


def test_nearly_every_licence_is_told(bill: dict[str, Any]) -> None:
    """By the installed package; not of one whose marker excludes this Python."""
    without = {each["name"] for each in bill["components"] if "licenses" not in each}
    assert without <= {"bagit", "colorama", "numpy"}
    told = {each["name"]: each.get("licenses") for each in bill["components"]}
    assert told["paho-mqtt"] == [{"expression": "EPL-2.0 OR BSD-3-Clause"}]
    assert told["pycdlib"] == [{"license": {"name": "LGPL-2.1-only"}}]


def test_a_broken_bill_is_complained_of(bill: dict[str, Any]) -> None:
    two = bill["components"][:2]
    refs = [each["bom-ref"] for each in two]
    asks = [{"ref": bill["metadata"]["component"]["bom-ref"], "dependsOn": refs}, *({"ref": ref} for ref in refs)]
    small = {**bill, "components": two, "dependencies": asks}
    assert complaints(small) == []

    def spoilt(change: Any) -> list[str]:
        other = copy.deepcopy(small)
        change(other)
        return complaints(other)

    assert spoilt(lambda b: b.update(extra=1))
    assert spoilt(lambda b: b["components"][0].update(licenses=[{"expression": "MIT"}, {"expression": "MIT"}]))
    assert spoilt(lambda b: b["components"][0]["hashes"][0].update(content="ab"))
    assert spoilt(lambda b: b["components"][0].update({"bom-ref": b["components"][1]["bom-ref"]}))
    assert spoilt(lambda b: b["dependencies"][0]["dependsOn"].append("pkg:pypi/nowhere@1"))
    assert spoilt(lambda b: b["dependencies"].pop())
