"""Challenges and what is answered to them; the password itself only where that is allowed."""

from base64 import b64encode

import pytest

from drivers.login import Challenge, Login, NoLogin, challenges, digest

MD5 = 'Digest realm="c", nonce="n1", qop="auth", algorithm=MD5'
SHA = 'Digest realm="c", nonce="n2", qop="auth,auth-int", algorithm=SHA-256'
BASIC = 'Basic realm="c"'
RFC_7616 = {
    "realm": "http-auth@example.org",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "qop": "auth, auth-int",
    "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
}
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    challenge = Challenge("digest", {**RFC_7616, "algorithm": algorithm})
    told = digest(challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", 1, CNONCE)
    [answer] = challenges([told])
    assert answer.values["response"] == response
    assert (answer.values["nc"], answer.values["qop"], answer.values["algorithm"]) == ("00000001", "auth", algorithm)
    assert answer.values["opaque"] == RFC_7616["opaque"]


def test_a_digest_without_qop() -> None:
    """RFC 2069; the figures are those of RFC 2617, 3.5."""
    challenge = Challenge("digest", {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"})
    [answer] = challenges([digest(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", 1, "")])
    assert answer.values["response"] == "670fd8c2df070c60b045671b8b24ff02"
    assert "nc" not in answer.values


def test_challenges_are_read_wherever_they_stand() -> None:
    found = challenges([f"{BASIC}, {MD5}", 'digest REALM="a \\" b", Nonce=x'])
    assert [each.scheme for each in found] == ["basic", "digest", "digest"]
    assert found[1].values == {"realm": "c", "nonce": "n1", "qop": "auth", "algorithm": "MD5"}
    assert found[2].values == {"realm": 'a \\" b', "nonce": "x"} and found[2].algorithm == "MD5"
    assert len(challenges(["Digest " * 100_000])) <= 16
    assert challenges(['Digest realm="' + "x" * 100_000]) and challenges([""]) == []


def test_the_first_digest_that_is_known_is_answered() -> None:
    login = Login("admin", "geheim", algorithms={"MD5"})
    assert login.header("GET", "/") == "", "nothing is told before it is asked"
    assert login.challenged([SHA, BASIC, MD5], answered=False)
    assert 'nonce="n1"' in login.header("GET", "/") and "nc=00000002" in login.header("GET", "/")


@pytest.mark.parametrize(
    ("offered", "demanded"),
    [
        ([BASIC], ""),
        ([BASIC, SHA], "SHA-256"),
        (['Digest realm="c", nonce="n", algorithm=SHA-512-256'], "SHA-512-256"),
        (['Digest realm="c", nonce="n", qop="auth-int"'], "qop=auth-int"),
        (["Negotiate"], "negotiate"),
    ],
)
def test_what_may_not_be_answered_is_named(offered: list[str], demanded: str) -> None:
    login = Login("admin", "geheim", algorithms={"MD5"})
    with pytest.raises(NoLogin) as caught:
        login.challenged(offered, answered=False)
    assert caught.value.demanded == demanded
    assert login.header("GET", "/") == ""


def test_the_password_is_told_where_that_is_allowed_and_nothing_better_is_offered() -> None:
    login = Login("admin", "geheim", allow_basic=True)
    assert login.challenged([BASIC], answered=False)
    assert login.header("GET", "/") == "Basic " + b64encode(b"admin:geheim").decode()
    assert login.challenged([BASIC, MD5], answered=False)
    assert login.header("GET", "/").startswith("Digest ")


def test_a_refused_login_is_not_tried_again_unless_its_nonce_has_expired() -> None:
    login = Login("admin", "geheim")
    assert login.challenged([MD5], answered=False)
    assert not login.challenged([MD5], answered=True)
    assert not login.challenged([MD5.replace("n1", "n3")], answered=True), "a wrong password"
    assert login.challenged([MD5.replace("n1", "n4") + ", stale=true"], answered=True)
    login.succeeded()
    assert login.challenged([MD5.replace("n1", "n5")], answered=True), "it was the right one before"
    assert not Login("", "").challenged([MD5], answered=False)
    assert not login.challenged([], answered=False)
