"""A process as the supervisor knows them: it holds its lock and writes its status. Words: RUN NAME [deaf|crash|silent|hang]."""

import sys
import time
from pathlib import Path

from recorder.process.runner import Reporter, process
from recorder.process.status import ClimateStatus


def main() -> None:
    """Until SIGTERM."""
    run, name, *manner = sys.argv[1:]
    if "crash" in manner:
        sys.exit("the child crashes")
    with process(name, Path(run)) as stop:
        if "deaf" in manner:
            stop.clear = stop.set = lambda: None  # type: ignore[method-assign]
        reporter = Reporter(ClimateStatus(name=name, pid=0, boot_id="", version=""), Path(run))
        while not stop.is_set():
            if "silent" not in manner:
                reporter.state("ok")
                reporter.report()
            while "hang" in manner and reporter.status.seq:
                stop.wait(60)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
