"""Is everything on a disc what was put there? By the digests in delivery.json, which delivery.sig signs. Pure.

The bag's lists are signed by nobody: whoever changes a file can make them anew.
"""

from collections.abc import Iterable
from typing import Any

from burner.check.read import Contents
from burner.disc import bag
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
    if before and "sha256" not in delivery:
        yield note("disc-records-and-page-unsigned")
        return
    digests: dict[str, str] = delivery["sha256"]
    wrong = [path for path, sha256 in digests.items() if contents.digests.get(path) != sha256]
    if not before and bag.told_by_info(contents.kept["bag-info.txt"]) != list(delivery["info"].items()):
        wrong.append("bag-info.txt")
    known = {*digests, *(f["path"] for f in delivery["files"]), "data/delivery.json", "data/delivery.sig"}
    if before:
        known.add(PAGE)
        yield note("disc-page-unsigned")
    added = [path for path in sorted(contents.digests) if path.startswith("data/") and path not in known]
    yield from (bad("disc-record-missing-or-altered", path=path) for path in wrong)
    yield from (bad("disc-file-added-later", path=path) for path in added)
    others = [path for path in sorted(contents.digests) if not path.startswith("data/") and path not in TAGS]
    yield from (note("file-not-part-of-record", path=path) for path in others)
    if not wrong and not added:
        yield good("disc-records-complete-and-unchanged", count=len(digests))
