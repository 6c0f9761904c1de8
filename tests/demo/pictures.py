"""What the composite shows: counted, and laid out on one sheet."""

from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT, BAR = 960, 540, 44


def count(path: Path) -> int:
    """Pictures that decode."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def sheet(parts: list[Path], total: int, captions: tuple[str, str, str], out: Path) -> None:
    """Writes the first, the middle and the last picture of the composite, one below the other, each with its caption."""
    wanted = {0: captions[0], total // 2: captions[1], total - 1: captions[2]}
    rows = []
    n = 0
    for part in parts:
        with av.open(str(part)) as container:
            for frame in container.decode(video=0):
                if n in wanted:
                    rows.append(_row(frame.to_ndarray(format="bgr24"), wanted[n]))
                n += 1
    ok, png = cv2.imencode(".png", np.vstack(rows))
    if not ok:
        raise ValueError("the sheet cannot be encoded")
    out.write_bytes(png.tobytes())


def _row(picture: np.ndarray, caption: str) -> np.ndarray:
    bar = np.full((BAR, WIDTH, 3), 32, np.uint8)
    cv2.putText(bar, caption, (16, BAR - 13), (230, 230, 230), cv2.FontFace("uni"), 24, 400)
    return np.vstack([bar, cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)])
