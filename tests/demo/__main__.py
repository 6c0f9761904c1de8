"""``./demo``: self-check, recording, transcript, two discs, health feed; exit code 0 only if all of it was verified."""

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.demo import interview
from tests.demo.command import DemoError, RoomAgent
from tests.demo.interview import Agent, Summary
from tests.demo.subscriber import Subscriber
from tests.equipment.clips import prepare
from tests.equipment.microphone import prepare_sound
from tests.equipment.room import StandInRoom

HOME = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./demo", description="A whole interview on stand-in equipment.")
    parser.add_argument("--seconds", type=int, default=60, help="length of the interview (default 60)")
    parser.add_argument("--out", type=Path, default=HOME / "demo-out", help="where everything is left (default demo-out/)")
    parser.add_argument("--json", action="store_true", help="print the summary as the last line, nothing else on stdout")
    parser.add_argument("--stay", action="store_true", help="keep the room up afterwards, to play with; Ctrl-C ends it")
    default = "zh" if os.environ.get("LANG", "").startswith("zh") else "en"
    parser.add_argument(
        "--language", choices=("zh", "en"), default=default, help=f"of overlay, reports and disc (here {default})"
    )
    chosen = parser.parse_args()
    if not 2 <= chosen.seconds <= 24 * 3600:
        parser.error(f"--seconds {chosen.seconds}: an interview lasts from 2 seconds to a day")
    return chosen


def clear(out: Path) -> None:
    """An earlier demo's folder is replaced; anything else is left alone. Raises DemoError."""
    if out.exists() and not out.is_dir():
        raise DemoError(f"--out {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / ".demo").exists():
        raise DemoError(f"--out {out} holds other things; name a new or empty folder")
    if out.is_dir():
        for path in out.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    (out / ".demo").touch()


def run(chosen: argparse.Namespace, say: Callable[[str], None]) -> Summary:
    out = chosen.out.resolve()
    clear(out)
    summary = Summary(out)
    cache = HOME / ".cache" / "equipment"
    say("what the stand-in cameras and the microphone show and say (made once) …")
    prepare(cache)
    prepare_sound(cache, chosen.language)
    began = time.monotonic()
    say("stand-in cameras, microphone, sensor, broker, drives …")
    with StandInRoom(out / "equipment", cache, language=chosen.language, discs=out) as room:
        config = out / "config.toml"
        config.write_text(room.config_text(out / "data", out / "run", chosen.language), encoding="utf-8")
        command = RoomAgent(config, room.env)
        command.ask("check-config")
        facts = room.facts()
        subscriber = Subscriber(facts["broker"], out / "health.jsonl")
        say("room-agent run …")
        agent = Agent(command, out / "agent.log")
        try:
            interview.wait_until_armed(command, agent)
            summary.values["ready_s"] = round(time.monotonic() - began, 1)
            say(f"ready to record after {summary.values['ready_s']} s")
            say("self-check …")
            interview.selfcheck(command, summary)
            subscriber.wait_for("state", {"online": True})
            interview.record(command, summary, chosen.seconds, chosen.language, say)
            say("transcript …")
            interview.transcript(command, summary, chosen.language)
            say("two discs: author, burn, read back, compare …")
            interview.discs(command, summary, room)
            if chosen.stay:
                stay(command, out)
            code = agent.stop()
            summary.expect(code == 0, f"the agent ended with {code}")
            interview.feed(subscriber, summary)
        finally:
            interview.end_room(command, agent, out / "run")
            subscriber.stop()
    return summary


def stay(command: RoomAgent, out: Path) -> None:
    """Keeps the room up until Ctrl-C."""
    call = shlex.join(["env", *(f"{key}={value}" for key, value in command.env.items()), *command.argv()])
    sys.stderr.write(
        f"\nThe room stays up; Ctrl-C ends it. In another terminal:\n"
        f"  alias ra={shlex.quote(call)}\n"
        f"  ra session status\n  ra selfcheck\n"
        f"  ra session start --case 2 --cause test --handler A --interviewee B\n"
        f"  ra session stop --by A --reason done\n  ra session list\n  ra verify {shlex.quote(str(out / 'disc-1.img'))}\n"
    )
    with suppress(KeyboardInterrupt):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def closing(summary: Summary) -> str:
    """A few lines that a technician understands."""
    v = summary.values
    if summary.problems:
        return "NOT everything is in order:\n" + "\n".join(f"  - {problem}" for problem in summary.problems)
    composite = v["composite"]
    tracks = ", ".join(f"{name} {100 * facts['covered']:.0f} %" for name, facts in v["tracks"].items())
    return (
        f"All verified. The interview ran from {v['official_start']} to {v['official_end']} ({v['seconds']:.0f} s).\n"
        f"  Originals: {tracks}, no gap. Composite: {composite['pictures_written']} of {composite['pictures_due']} pictures.\n"
        f"  Transcript: {v['transcript']['verdict']}. Discs: {len(v['discs'])} burned, read back and equal.\n"
        f"  Feed: {v['feed']['messages']} messages, {v['feed']['lost']} lost. Everything is in {summary.out}"
    )


def main() -> int:
    chosen = arguments()
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:6.1f} s] {text}\n")
        sys.stderr.flush()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        summary = run(chosen, say)
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        if chosen.json:
            sys.stdout.write(json.dumps({"verified": False, "problems": [str(error)]}, ensure_ascii=False) + "\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: ended by Ctrl-C\n")
        return 130
    values = {"verified": not summary.problems, "problems": summary.problems, **summary.values}
    (summary.out / "summary.json").write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if chosen.json:
        sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(closing(summary) + "\n")
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
