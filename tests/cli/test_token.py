"""`litestar token`: a bearer token for a shell, and nothing else on its output."""

from pathlib import Path

import jwt
import pytest

from tests.support.commands import Operator
from tests.support.services import SECRET, Service
from tests.support.tokens import bearer


async def test_a_token_is_good_for_a_day_and_the_service_takes_it(operator: Operator, service: Service) -> None:
    outcome = operator.litestar("token", "alice")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    token = outcome.out.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert set(claims) == {"sub", "iat", "exp"}
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("alice", 24 * 3600)
    answer = await service.http.post("/api/tasks", json={"title": "Buy milk"}, headers=bearer(token))
    assert (answer.status_code, answer.json()["user_id"]) == (201, "alice")


async def test_its_life_and_e_mail_address_may_be_said(operator: Operator, service: Service) -> None:
    token = operator.litestar("token", "Zoë Łąka", "--ttl", "15m", "--email", "zoe@example.test").out.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert (await service.http.post("/api/tasks", json={"title": "t"}, headers=bearer(token))).status_code == 201
    [row] = await service.rows("SELECT id, email FROM users")
    assert tuple(row) == ("Zoë Łąka", "zoe@example.test")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["alice", "--ttl", "soon"], "'soon' is not a span such as 90s, 15m, 24h or 7d"),
        (["alice", "--ttl", "9999999d"], "a token must expire before the year 10000"),
        (["al\tice"], "a user id has 1 to 255 printable characters"),
    ],
)
def test_what_cannot_be_signed_is_said_in_words(operator: Operator, arguments: list[str], said: str) -> None:
    outcome = operator.litestar("token", *arguments)
    assert any(said in line for line in outcome.refused())
    assert outcome.code == 2


def test_without_a_shared_secret_there_is_nothing_to_sign_with(operator: Operator) -> None:
    outcome = operator.litestar("token", "alice", BETTER_AUTH_SECRET="", BETTER_AUTH_URL="http://127.0.0.1:1")
    assert outcome.refused() == ["no shared secret is set, so no token can be signed; set BETTER_AUTH_SECRET"]


def test_with_secrets_in_rotation_the_first_one_signs(operator: Operator) -> None:
    token = operator.litestar("token", "alice", BETTER_AUTH_SECRETS=f"2:{SECRET[::-1]},1:{SECRET}").out.strip()
    assert jwt.decode(token, SECRET[::-1], algorithms=["HS256"])["sub"] == "alice"


def test_the_secret_made_for_development_signs_from_every_call(operator: Operator, tmp_path: Path) -> None:
    token = operator.litestar("token", "alice", BETTER_AUTH_SECRET="").out.strip()
    secret = (tmp_path / "data" / "development-secret").read_text()
    assert jwt.decode(token, secret, algorithms=["HS256"])["sub"] == "alice"
