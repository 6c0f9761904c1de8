"""The names of a disc: each of its trees has its own, and every system shows another one."""

from collections.abc import Iterator
from typing import Any

from recorder.evidence.findings import Finding, bad


def labels_of(iso: Any) -> Iterator[str]:
    """Every volume name that an opened image has (ISO 9660, Joliet, UDF), as far as it can be read."""
    yield from (_plain(each.volume_identifier, "ascii") for each in iso.pvds)
    if iso.joliet_vd is not None:
        yield _plain(iso.joliet_vd.volume_identifier, "utf_16_be")
    for descriptors in (iso.udf_main_descs, iso.udf_reserve_descs):
        yield from (_unicode(each.vol_ident) for each in descriptors.pvds)
        yield from (_unicode(each.logical_vol_ident) for each in descriptors.logical_volumes)
    if iso.udf_main_descs.pvds:
        yield _unicode(iso.udf_file_set.log_vol_ident)


def check_labels(labels: tuple[str, ...], signed: object) -> Iterator[Finding]:
    """Each name against the one that delivery.json says; version 0.1.0 has it there too."""
    yield from (bad("disc-label-differs", label=label, expected=signed) for label in dict.fromkeys(labels) if label != signed)


def _plain(name: bytes, encoding: str) -> str:
    return name.decode(encoding, "replace").rstrip(" \x00")


def _unicode(name: bytes) -> str:
    """OSTA compressed Unicode in a d-string: 8 or 16 bits a character, its length in the last byte (UDF 1.02, 2.1.1, 2.1.3)."""
    text = name[1 : name[-1]]
    return text.decode("utf_16_be" if name[:1] == b"\x10" else "latin-1", "replace")
