"""Is everything on a disc what was put there? By the digests in delivery.json, which delivery.sig signs. Pure.

The bag's lists are signed by nobody: whoever changes a file can make them anew.
"""

from collections.abc import Iterable
from typing import Any

from burner.check.labels import check_labels
from burner.check.read import Contents
from burner.disc import bag
from burner.disc.signing import DELIVERY, STORED, UNLISTED
from recorder.evidence.findings import Finding, bad, good, note

TAGS = ("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", "index.html")
PAGE = "data/index.html"


def check_records(contents: Contents, delivery: dict[str, Any]) -> Iterable[Finding]:
    """Every record, the pages and bag-info.txt, and whether there is anything else.

    A disc of the form before is checked as far as its delivery.json goes. Raises KeyError, TypeError, ValueError, AttributeError
    where that is not of the known form.
    """
    form = delivery["schema"]
    if form not in (bag.DELIVERY, bag.DELIVERY_BEFORE):
        yield bad("file-form-unknown", path="data/delivery.json", form=form)
        return
    before = form == bag.DELIVERY_BEFORE
    digests: dict[str, str] = delivery.get("sha256", {}) if before else delivery["sha256"]
    yield from check_labels(contents.labels, delivery["label"])
    beside = [p for p in sorted(contents.digests) if not p.startswith("data/") and p not in TAGS and p not in digests]
    yield from (bad("file-not-part-of-record", path=path) for path in beside)
    if before and "sha256" not in delivery:
        yield note("disc-records-and-page-unsigned")
        return
    wrong = [path for path, sha256 in digests.items() if contents.digests.get(path) != sha256]
    known = {*digests, *(f["path"] for f in delivery["files"]), DELIVERY, STORED, *((PAGE,) if before else UNLISTED)}
    if before:
        yield note("disc-page-unsigned")
    added = [path for path in sorted(contents.digests) if path.startswith("data/") and path not in known]
    info_agrees = (
        _counts_agree(contents, whole=not (wrong or added))
        if before
        else bag.told_by_info(contents.kept[bag.INFO])[: -len(bag.COUNTED)] == list(delivery["info"].items())
    )
    if not info_agrees and bag.INFO not in wrong:
        wrong.append(bag.INFO)
    yield from (bad("disc-record-missing-or-altered", path=path) for path in wrong)
    yield from (bad("disc-file-added-later", path=path) for path in added)
    if not wrong and not added and not beside:
        yield good("disc-records-complete-and-unchanged", count=len(digests))


def _counts_agree(contents: Contents, *, whole: bool) -> bool:
    """Of bag-info.txt the lines that count the payload, which nobody signed before: anybody can count it again.

    whole: the payload is as it was put there; another one counts otherwise, which is told already. Raises KeyError, ValueError.
    """
    told = bag.told_by_info(contents.kept[bag.INFO])[-len(bag.COUNTED) :]
    counted = bag.counted([size for path, size in contents.sizes.items() if path.startswith("data/")])
    return told == list(counted.items()) or not whole or bool(contents.damage)
