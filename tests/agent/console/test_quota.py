"""How much of the console one user may have, by a clock that is set."""

from agent.console.quota import BURST, CHANCE_S, KEPT, LOOKS, PER_S, PLACES, STOP, URGENT_MOST, Quota

OFFICER, OTHER = 1000, 1001


def entered(quota: Quota, uid: int, count: int, now_s: float = 0.0) -> list[str]:
    """The kinds of so many new connections, named by their number."""
    return [quota.enter(uid, (uid, number), now_s)[0] for number in range(count)]


def test_a_user_has_four_plain_places_and_then_hurried_ones() -> None:
    quota = Quota()
    assert entered(quota, OFFICER, PLACES + 2) == ["plain"] * PLACES + ["hurried"] * 2
    assert entered(quota, OTHER, 1) == ["plain"], "another user's are another user's"
    quota.leave(OFFICER, (OFFICER, 0), "plain", waiting=False)
    assert quota.enter(OFFICER, "next", 0.0) == ("plain", None)


def test_a_user_who_comes_too_often_has_hurried_places_until_time_has_passed() -> None:
    quota = Quota()

    def come(now_s: float) -> str:
        kind, _ = quota.enter(OFFICER, now_s, now_s)
        quota.leave(OFFICER, now_s, kind, waiting=False)
        return kind

    kinds = [come(0.0) for _ in range(round(BURST) + 5)]
    assert kinds == ["plain"] * round(BURST) + ["hurried"] * 5
    assert [come(10 / PER_S) for _ in range(11)] == ["plain"] * 10 + ["hurried"]
    assert [come(1000.0) for _ in range(round(BURST) + 1)] == ["plain"] * round(BURST) + ["hurried"], "no more is saved up"


def test_the_oldest_hurried_connection_makes_room_for_the_next_of_its_user() -> None:
    quota = Quota()
    entered(quota, OFFICER, PLACES + KEPT)
    assert quota.enter(OTHER, "other", 0.0) == ("plain", None)
    for connection, command, taken in (("a", STOP, True), ("b", "session.start", False)):
        assert quota.enter(OFFICER, connection, CHANCE_S / 2) == ("crowded", None), "the others have had no chance yet"
        assert quota.commanded(OFFICER, connection, command, CHANCE_S / 2) is taken
        quota.leave(OFFICER, connection, "crowded", waiting=taken)
    assert quota.enter(OFFICER, "next", CHANCE_S) == ("hurried", (OFFICER, PLACES))
    assert quota.enter(OFFICER, "and next", CHANCE_S) == ("hurried", (OFFICER, PLACES + 1))
    assert quota.largest() == (OFFICER, PLACES + 2)


def test_of_a_hurried_connection_a_stop_or_a_look_is_taken_and_nothing_else() -> None:
    quota = Quota()
    entered(quota, OFFICER, PLACES)
    for number, (command, taken) in enumerate([(STOP, True), ("session.status", True), ("session.start", False), ("x", False)]):
        assert quota.enter(OFFICER, number, 0.0)[0] == "hurried"
        assert quota.commanded(OFFICER, number, command, 0.0) is taken, command
        quota.leave(OFFICER, number, "hurried", waiting=taken)


def test_so_many_stops_may_wait_and_looks_are_counted_apart() -> None:
    quota = Quota()
    entered(quota, OFFICER, PLACES)
    for number in range(100):  # looks, one after another
        quota.enter(OFFICER, number, 0.0)
        taken = quota.commanded(OFFICER, number, "session.status", 0.0)
        assert taken is (number < LOOKS)
        quota.leave(OFFICER, number, "hurried", waiting=taken)
    for number in range(URGENT_MOST + 1):  # stops, at once
        quota.enter(OFFICER, number, 0.0)
        assert quota.commanded(OFFICER, number, STOP, 0.0) is (number < URGENT_MOST)
    quota.leave(OFFICER, 0, "hurried", waiting=True)
    quota.enter(OFFICER, "next", 0.0)
    assert quota.commanded(OFFICER, "next", STOP, 0.0)


def test_users_who_are_gone_are_forgotten() -> None:
    """However many there were, the next one begins anew, and nobody is left in memory."""
    quota = Quota()
    for uid in range(1000):
        kind, _ = quota.enter(uid, uid, 0.0)
        quota.leave(uid, uid, kind, waiting=False)
    assert quota.enter(OFFICER, "first", 1.0) == ("plain", None)
    assert quota.known == 1001
    quota.enter(OTHER, "second", 1000.0)
    assert quota.known == 2, "the one with a connection, and the newest"
