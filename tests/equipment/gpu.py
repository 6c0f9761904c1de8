"""A stand-in for a graphics processor: an ffmpeg that takes the hardware's command and encodes with x264 in its place.

Everything but the codec is the real thing: the product's arguments, the pipes, ffmpeg, NUT. What hardware can do wrong is asked
for by a word in the file that stands for the render node: ``no-full-power`` refuses all but -low_power, ``dead`` refuses all,
``grey`` encodes other pictures, ``silent`` takes pictures and gives nothing, ``skips`` leaves the eleventh out, ``few`` gives
20 and then none, ``short`` ends after 20 as if those were all, ``slow`` takes 40 ms a picture.
"""

import os
import shutil
from pathlib import Path

import pytest

SCRIPT = r"""#!/bin/sh
low= device=
n=$#
while [ "$n" -gt 0 ]; do
  case $1 in
    -vaapi_device | -qsv_device) device=$2; shift 2; n=$((n - 2)); continue ;;
    -low_power) low=yes; shift 2; n=$((n - 2)); continue ;;
    -rc_mode | -async_depth) shift 2; n=$((n - 2)); continue ;;
    -vf) [ "$2" = format=nv12,hwupload ] || [ "$2" = format=nv12 ] || exit 9
         shift 2; n=$((n - 2)); continue ;;
    -q:v) set -- "$@" -qp ;;
    h264_vaapi | h264_qsv) set -- "$@" libx264 -preset ultrafast -threads 2 -thread_type slice -pix_fmt yuv420p ;;
    pipe:1) ;;
    *) set -- "$@" "$1" ;;
  esac
  shift
  n=$((n - 1))
done
refuse() { echo "No usable encoding entrypoint found for profile VAProfileH264High (7)." >&2; exit 1; }
does=$(cat "$device")
case $does in
  no-full-power) [ "$low" ] || refuse ;;
  dead) refuse ;;
  grey) set -- "$@" -vf lutyuv=y=128 ;;
  silent) cat > /dev/null; exit 0 ;;
  skips) exec "$FFMPEG" "$@" -vf "select=not(eq(n\,10))" pipe:1 ;;
  slow) set -- -re "$@" ;;
  few) exec "$FFMPEG" "$@" -vf "select=lt(n\,20)" pipe:1 ;;
  short) exec "$FFMPEG" "$@" -frames:v 20 pipe:1 ;;
esac
exec "$FFMPEG" "$@" pipe:1
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str = "") -> str:
    """Puts the stand-in's ffmpeg before the real one; gives the path of its render node."""
    real = shutil.which("ffmpeg")
    assert real
    program = folder / "gpu-bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
    monkeypatch.setenv("FFMPEG", real)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    device = folder / "renderD128"
    device.write_text(does)
    return str(device)
