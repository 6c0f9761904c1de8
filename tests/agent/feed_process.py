"""A room's feed as a process of its own, to be killed: ``python -m tests.agent.feed_process PORT CA_FILE USER ROOM OUTBOX``."""

import itertools
import sys
import time
from pathlib import Path

from agent.feed.outbox import Outbox
from agent.feed.room import Feed, FeedSettings
from drivers.mqtt import Broker
from tests.agent.broker_fixture import CENTRE, PASSWORD
from tests.agent.room_samples import checked, room


def main() -> None:
    """Looks at the room ten times a second, with an event each time, until it is killed."""
    port, ca_file, user, name, outbox = sys.argv[1:]
    broker = Broker("127.0.0.1", int(port), user, PASSWORD, True, ca_file)
    feed = Feed(FeedSettings(CENTRE, name, broker), Outbox(Path(outbox)))
    feed.start()
    for number in itertools.count():
        feed.update(checked(room(), number, "burner"))
        time.sleep(0.1)


if __name__ == "__main__":
    main()
