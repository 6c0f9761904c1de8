"""The bill of materials of the pinned Python packages: ``python -m requirements.sbom > docs/sbom.cdx.json``.

CycloneDX 1.5 in JSON (ECMA-424), the same bytes for the same pins: it names no time. A package's hashes are those of every file
that its maker published of that version and that is pinned; one of them was installed. Its licence is what the installed package
says of itself; of one that is not installed here (its marker excludes this Python) none is told. Scope ``required`` is what a
room runs with, ``excluded`` what serves building and testing alone. Debian's packages are not in it: their versions are not
pinned here but follow the room's Debian. VENDORED is what lies in the source as its author published it.
"""

import json
import re
import sys
import tomllib
from hashlib import sha256
from importlib import metadata
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from requirements.pins import FOLDER, Pin, pins

Json = dict[str, Any]
PRODUCT = FOLDER.parent / "pyproject.toml"
CLASSIFIER = "License :: OSI Approved :: "
# Name, version, licence, purl, and the file in the source: what the disc's page carries (burner/disc/verify_page.py).
VENDORED = (("noble-ed25519", "3.2.0", "MIT", "pkg:npm/%40noble/ed25519@3.2.0", "wording/pages/verify/noble-ed25519.js"),)
LICENCE_CHARACTERS = 60  # a longer text is the licence itself, not its name


def purl(pin: Pin) -> str:
    """The package's address by the purl specification (type pypi)."""
    return f"pkg:pypi/{pin.name}@{pin.version}"


def licences(told: metadata.PackageMetadata) -> list[Json]:
    """What an installed package says of its licence, in CycloneDX's form; [] where it says nothing plain."""
    if expression := told.get_all("License-Expression"):
        return [{"expression": str(expression[0])}]
    named = [text.removeprefix(CLASSIFIER) for text in told.get_all("Classifier") or [] if text.startswith(CLASSIFIER)]
    text = str((told.get_all("License") or [""])[0]).strip()
    if not named and text not in ("", "UNKNOWN") and len(text) <= LICENCE_CHARACTERS:
        named = [text]
    return [{"license": {"name": name}} for name in sorted(set(named)) if "\n" not in name]


def component(pin: Pin) -> Json:
    """One package."""
    made: Json = {"type": "library", "bom-ref": purl(pin), "name": pin.name, "version": pin.version}
    made["scope"] = "required" if pin.use == "run" else "excluded"
    made["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in pin.hashes]
    try:
        installed = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        installed = None
    if installed is not None and installed.version == pin.version and (named := licences(installed.metadata)):
        made["licenses"] = named
    made["purl"] = purl(pin)
    told = {"requirements:file": f"{pin.use}.txt", "requirements:marker": pin.marker}
    made["properties"] = [{"name": name, "value": value} for name, value in told.items() if value]
    return made


def vendored() -> list[Json]:
    """What lies in the source; its hash is of the file there."""
    return [
        {
            "type": "library",
            "bom-ref": address,
            "name": name,
            "version": version,
            "scope": "required",
            "hashes": [{"alg": "SHA-256", "content": sha256((FOLDER.parent / path).read_bytes()).hexdigest()}],
            "licenses": [{"license": {"id": licence}}],
            "purl": address,
            "properties": [{"name": "source:file", "value": path}],
        }
        for name, version, licence, address, path in VENDORED
    ]


def dependencies(pinned: tuple[Pin, ...], product: str) -> list[Json]:
    """Who asks for whom, by the comments that pip-compile wrote. product: its bom-ref."""
    own = {address for *_, address, _ in VENDORED}
    asked: dict[str, set[str]] = {product: own, **{purl(pin): set() for pin in pinned}, **{ref: set() for ref in own}}
    for pin in pinned:
        for name in pin.via:
            for asking in [product] if not name else [purl(other) for other in pinned if other.name == name]:
                asked[asking].add(purl(pin))
    return [{"ref": ref, "dependsOn": sorted(names)} if names else {"ref": ref} for ref, names in asked.items()]


def bill() -> Json:
    """The whole document."""
    pinned = pins()
    project = tomllib.loads(PRODUCT.read_text(encoding="utf-8"))["project"]
    product = f"{project['name']}@{project['version']}"
    about: Json = {"type": "application", "bom-ref": product, "name": project["name"], "version": project["version"]}
    about["licenses"] = [{"license": {"id": re.sub(r"\s.*", "", project["license"]["text"])}}]
    body: Json = {
        "metadata": {"component": about},
        "components": [*(component(pin) for pin in pinned), *vendored()],
        "dependencies": dependencies(pinned, product),
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def render() -> str:
    """The text of docs/sbom.cdx.json."""
    return json.dumps(bill(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
