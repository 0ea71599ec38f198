"""Who may do what: every route as nobody, chat, reviewer and admin; sessions, open chat, other sites, limits."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from sqlmodel import select
from starlette.requests import Request
from starlette.testclient import TestClient

from bot.api_pages import SECTIONS
from bot.api_parts import PUBLIC
from bot.auth import COOKIE, SIGN_INS_AT_ONCE, Access
from bot.rates import Rates
from bot.sessions import local_path
from store import people
from store.errors import Busy, Invalid
from store.models import Exchange, Key, Role, now
from tests.queued import PASSWORD, QueuedBot, error, queued_bot, serve, until
from tests.test_bot_api_admin import scheduler

HERE = ("127.0.0.1", 50_000)
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
ADMIN_ELSEWHERE = {
    ("PUT", "/v1/documents/{document_id}/labels"),
    ("GET", "/v1/documents/{document_id}/resting"),
    ("POST", "/v1/documents"),
    ("DELETE", "/v1/documents/{document_id}"),
}
QUESTION = {"messages": [{"role": "user", "content": "How long is the Aare?"}]}


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path_factory.mktemp("bot")) as bot:
        yield bot


@pytest.fixture(scope="module")
def open_bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path_factory.mktemp("open"), open_chat=True) as bot:
        yield bot


def visitor(bot: QueuedBot, address: tuple[str, int] = HERE, host: str = "127.0.0.1:8000") -> TestClient:
    return TestClient(bot.app, base_url=f"http://{host}", client=address, follow_redirects=False)


def at_the_page(bot: QueuedBot, **headers: str) -> TestClient:
    """A browser on this machine that has opened the chat page."""
    client = visitor(bot)
    assert client.get("/").status_code == 200
    client.headers.update(headers or {"Sec-Fetch-Site": "same-origin"})
    return client


def routes(app: FastAPI) -> list[tuple[str, str]]:
    found = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    assert len(found) > 30
    return found


def needs_admin(method: str, path: str) -> bool:
    return path.startswith(("/v1/admin", "/admin")) or (method, path) in ADMIN_ELSEWHERE


def status(bot: QueuedBot, method: str, path: str, who: str) -> int:
    url = path.replace("{", "").replace("}", "")
    return visitor(bot).request(method, url, headers=bot.headers(who)).status_code


# the walk over all routes


def test_nobody_gets_401_everywhere_but_on_the_public_routes(bot: QueuedBot) -> None:
    for method, path in routes(bot.app):
        assert (status(bot, method, path, "nobody") == 401) == (path not in PUBLIC), (method, path)


@pytest.mark.parametrize("who", ["chat", "reviewer"])
def test_chat_and_reviewer_get_403_on_admin_routes_only(bot: QueuedBot, who: str) -> None:
    for method, path in routes(bot.app):
        assert (status(bot, method, path, who) == 403) == needs_admin(method, path), (method, path)


def test_admin_is_let_in_everywhere(bot: QueuedBot) -> None:
    with scheduler(bot, defaultdict(dict)):
        for method, path in routes(bot.app):
            assert status(bot, method, path, "admin") not in (401, 403), (method, path)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/metrics", "/static/../auth.py", "/v1/admin"])
def test_nothing_answers_beside_the_routes(bot: QueuedBot, path: str) -> None:
    assert visitor(bot).get(path).status_code == 404


# keys


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic YTpi", "Bearer ", "x"])
def test_wrong_key_is_401_even_where_chat_is_open(open_bot: QueuedBot, header: str) -> None:
    response = visitor(open_bot).get("/v1/models", headers={"Authorization": header})
    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


def test_revoked_key_is_401(bot: QueuedBot) -> None:
    admin = bot.headers("admin")
    row = people.add(bot.database, "leaver", role=Role.CHAT, actor="test")
    key = visitor(bot).post(f"/v1/admin/users/{row.id}/keys", json={}, headers=admin).json()["key"]
    header = {"Authorization": f"Bearer {key}"}
    assert visitor(bot).get("/v1/models", headers=header).status_code == 200
    users = visitor(bot).get("/v1/admin/users", headers=admin).json()["data"]
    (shown,) = next(user["keys"] for user in users if user["id"] == row.id)
    assert visitor(bot).delete(f"/v1/admin/keys/{shown['id']}", headers=admin).status_code == 200
    assert visitor(bot).get("/v1/models", headers=header).status_code == 401
    assert visitor(bot).delete(f"/v1/admin/keys/{shown['id']}", headers=admin).status_code == 404


def test_user_names_the_person_only_for_keys_that_act_on_behalf(bot: QueuedBot) -> None:
    for who, owner in {"admin": "bob", "chat": "chat"}.items():
        body = {**QUESTION, "user": "bob"}
        found = visitor(bot).post("/v1/chat/completions", json=body, headers=bot.headers(who)).json()["ratchet"]
        with bot.database.read() as session:
            person_id = session.get_one(Exchange, found["exchange_id"]).person_id
            assert people.find(session, owner).id == person_id


def test_key_on_behalf_cannot_act_for_somebody_with_a_greater_role(bot: QueuedBot) -> None:
    key = people.add_key(bot.database, bot.people["chat"], actor="test", scopes=["on_behalf"])
    headers = {"Authorization": f"Bearer {key}"}
    response = visitor(bot).post("/v1/chat/completions", json={**QUESTION, "user": "admin"}, headers=headers)
    assert response.status_code == 403 and "cannot act for them" in response.json()["error"]["message"]


# limits


def test_requests_over_the_share_of_a_key_are_429_and_an_admin_has_no_limit(tmp_path: Path) -> None:
    with queued_bot(tmp_path, requests_per_key=8) as bot, serve(bot.app) as address:
        bot.engine.default, bot.engine.pace = "word " * 40, 0.05

        def ask_at_once(who: str, count: int) -> list[int]:
            codes: list[int] = []

            def ask() -> None:
                url = f"{address}/v1/chat/completions"
                codes.append(httpx2.post(url, json=QUESTION, headers=bot.headers(who), timeout=60).status_code)

            threads = [threading.Thread(target=ask) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sorted(codes)

        assert ask_at_once("chat", 10) == [200] * 8 + [429] * 2
        assert ask_at_once("admin", 10) == [200] * 10
        assert ask_at_once("chat", 8) == [200] * 8


def test_stream_gives_its_slot_back_when_the_client_goes_away(tmp_path: Path) -> None:
    with queued_bot(tmp_path, requests_per_key=1) as bot, serve(bot.app) as address:
        bot.engine.default, bot.engine.pace = "word " * 500, 0.02
        url, headers = f"{address}/v1/chat/completions", bot.headers("chat")
        with httpx2.stream("POST", url, json={**QUESTION, "stream": True}, headers=headers) as response:
            lines = response.iter_lines()
            next(lines)
            assert httpx2.post(url, json=QUESTION, headers=headers).status_code == 429
        bot.engine.pace = 0.0
        until(lambda: httpx2.post(url, json=QUESTION, headers=headers).status_code == 200)


VISIT = Request({"type": "http", "headers": [], "client": HERE})


def test_few_passwords_are_checked_at_once(bot: QueuedBot) -> None:
    rates = Rates(requests_per_minute=100, sign_ins_per_minute=100)
    access = Access(bot.database, open_chat=False, requests_per_key=8, requests_per_person=8, rates=rates)
    with ExitStack() as running:
        for _ in range(SIGN_INS_AT_ONCE):
            running.enter_context(access.sign_in_slot(VISIT))
        with pytest.raises(Busy, match="4 sign-ins are running"):
            running.enter_context(access.sign_in_slot(VISIT))
    with access.sign_in_slot(VISIT):
        pass


# sessions


def signed_in(bot: QueuedBot, name: str) -> TestClient:
    client = visitor(bot)
    form = {"name": name, "password": PASSWORD, "next": "/admin"}
    response = client.post("/login", data=form, headers=SAME_SITE)
    assert response.status_code == 303 and response.headers["location"] == "/admin"
    cookie = response.headers["set-cookie"]
    assert COOKIE in cookie and "HttpOnly" in cookie and "SameSite=lax" in cookie
    return client


def test_session_opens_the_pages_and_logout_ends_it(bot: QueuedBot) -> None:
    client = signed_in(bot, "admin")
    assert client.get("/admin").status_code == 200 and client.get("/").status_code == 200
    assert client.get("/admin/nonsense").status_code == 404
    secret = client.cookies[COOKIE]
    assert client.post("/logout", headers=SAME_SITE).headers["location"] == "/login"
    assert visitor(bot).get("/v1/models", headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://127.0.0.1:8000"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_session_changes_things_from_its_own_site_only(bot: QueuedBot, headers: dict[str, str], fine: bool) -> None:
    client = signed_in(bot, "chat")
    code = client.post("/v1/search", json={"query": "Aare"}, headers=headers).status_code
    assert code == (200 if fine else 403)
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_wrong_password_and_unknown_name_say_the_same(bot: QueuedBot) -> None:
    texts = []
    for name in ("chat", "nobody at all"):
        response = visitor(bot).post("/login", data={"name": name, "password": "wrong"}, headers=SAME_SITE)
        assert response.status_code == 403 and "set-cookie" not in response.headers
        texts.append(response.text.replace(name, ""))
    assert texts[0] == texts[1] and "wrong name or password." in texts[0]


def test_login_from_another_site_is_403(bot: QueuedBot) -> None:
    form = {"name": "chat", "password": PASSWORD}
    assert visitor(bot).post("/login", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_name_in_the_login_form_is_escaped(bot: QueuedBot) -> None:
    form = {"name": '"><script>alert(1)</script>', "password": "x"}
    assert "<script>alert" not in visitor(bot).post("/login", data=form, headers=SAME_SITE).text


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "", "/\nx"]
)
def test_login_goes_on_to_paths_of_this_site_only(path: str) -> None:
    assert local_path(path) == "/"


def test_browser_without_a_session_is_sent_to_the_login_page(bot: QueuedBot) -> None:
    html = {"Accept": "text/html,*/*"}
    for path in ("/", "/admin", "/admin/people"):
        assert visitor(bot).get(path, headers=html).headers["location"] == f"/login?next={path}"
    assert visitor(bot).get("/login").status_code == 200


def test_who_opens_a_page_of_admins_without_being_one_is_told_so(bot: QueuedBot) -> None:
    html, somebody = {"Accept": "text/html,*/*"}, signed_in(bot, "chat")
    sent = somebody.get("/admin", headers=html).headers["location"]
    assert sent == "/login?next=/admin&needs=admin"
    assert "This page needs an admin" in somebody.get(sent).text
    assert "needs an admin" not in visitor(bot).get("/login?next=/admin").text


def test_reviewers_open_the_exchanges_and_no_other_page_of_admins(bot: QueuedBot) -> None:
    opened = {
        name: visitor(bot).get(f"/admin/{name}", headers=bot.headers("reviewer"))
        for name in (*SECTIONS, "dossier/v1", "nonsense")
    }
    assert [name for name, found in opened.items() if found.status_code == 200] == ["exchanges"]
    assert {found.status_code for name, found in opened.items() if name != "exchanges"} == {403}
    links = [path for path in re.findall(r'href="(/admin[^"]*)"', opened["exchanges"].text)]
    assert links == ["/admin/exchanges"]
    assert visitor(bot).get("/admin", headers=bot.headers("reviewer")).status_code == 403
    assert visitor(bot).get("/admin/exchanges", headers=bot.headers("chat")).status_code == 403
    somebody, html = signed_in(bot, "chat"), {"Accept": "text/html,*/*"}
    sent = somebody.get("/admin/exchanges", headers=html).headers["location"]
    assert "This page needs a reviewer" in somebody.get(sent).text


def test_signing_out_of_a_session_that_is_over_leads_to_the_login_page(bot: QueuedBot) -> None:
    over = {**SAME_SITE, "Cookie": f"{COOKIE}=over"}
    response = visitor(bot).post("/logout", headers={**over, "Accept": "text/html,*/*"})
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert visitor(bot).post("/logout", headers=over).status_code == 401


def early_in_a_minute() -> None:
    """Wait where the clock's minute is about to end: limits count by it, and would let a few more through."""
    if (left := 60 - time.time() % 60) < 10:
        time.sleep(left)


def test_an_address_that_tries_many_passwords_or_keys_has_to_wait(tmp_path: Path) -> None:
    with queued_bot(tmp_path, sign_ins_per_minute=3) as bot, visitor(bot) as client:
        early_in_a_minute()
        for _ in range(2):
            assert client.get("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        body = {"name": "admin", "password": "wrong"}
        assert client.post("/login", data=body).status_code == 403
        waits = client.get("/v1/models", headers={"Authorization": "Bearer wrong"})
        assert (waits.status_code, waits.headers["retry-after"]) == (429, "60")
        assert error(waits)["message"] == "more than 3 attempts to sign in from this address within a minute."
        assert client.get("/v1/models", headers=bot.headers("chat")).status_code == 200


def test_somebody_who_asks_too_often_in_a_minute_waits_and_an_admin_does_not(tmp_path: Path) -> None:
    with queued_bot(tmp_path, requests_per_minute=3) as bot, visitor(bot) as client:
        early_in_a_minute()
        found = [client.get("/v1/models", headers=bot.headers("chat")).status_code for _ in range(4)]
        assert found == [200, 200, 200, 429]
        assert client.get("/v1/models", headers=bot.headers("other")).status_code == 200
        assert {client.get("/v1/models", headers=bot.headers("admin")).status_code for _ in range(8)} == {200}


def test_a_key_ends_when_it_was_made_to(bot: QueuedBot) -> None:
    key = people.add_key(bot.database, bot.people["chat"], actor="test", days=1)
    with visitor(bot) as client:
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        with bot.database.write() as session:
            row = session.exec(select(Key).where(Key.digest == people.secret_digest(key))).one()
            row.expires_at = now() - timedelta(seconds=1)
            session.add(row)
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    with pytest.raises(Invalid, match="the key is to live 0 days, expected more than 0"):
        people.add_key(bot.database, bot.people["chat"], actor="test", days=0)


def test_set_up_link_makes_one_admin_and_works_once(tmp_path: Path) -> None:
    with queued_bot(tmp_path) as bot:
        people.erase(bot.database, "admin", actor="test")
        secret = people.setup_secret(bot.database)
        assert secret is not None
        page = visitor(bot).get(f"/setup?token={secret}")
        assert page.status_code == 200 and secret in page.text
        form = {"token": secret, "name": "root", "password": "short"}
        short = visitor(bot).post("/setup", data=form, headers=SAME_SITE)
        assert short.status_code == 422 and "at least 10" in short.text
        client, form = visitor(bot), {**form, "password": PASSWORD}
        assert client.post("/setup", data=form, headers=SAME_SITE).headers["location"] == "/admin"
        assert client.get("/v1/admin/users").status_code == 200
        again = visitor(bot).post("/setup", data={**form, "name": "second"}, headers=SAME_SITE)
        assert again.status_code == 403 and "wrong, used or over" in again.text


# open chat


def test_open_chat_needs_its_page_first_so_that_scripts_still_need_a_key(open_bot: QueuedBot) -> None:
    assert visitor(open_bot).post("/v1/chat/completions", json=QUESTION).status_code == 401
    assert visitor(open_bot).get("/v1/models").status_code == 401
    again = at_the_page(open_bot)
    assert "set-cookie" not in again.get("/").headers


def test_open_chat_answers_the_page_of_this_machine_as_local(open_bot: QueuedBot) -> None:
    given = {"passages": [{"title": "t", "text": "The Aare is short."}]}
    for body in (QUESTION, {**QUESTION, "ratchet": given}):
        found = at_the_page(open_bot).post("/v1/chat/completions", json=body).json()["ratchet"]
        with open_bot.database.read() as session:
            row = session.get_one(Exchange, found["exchange_id"])
            assert row.person_id == people.find(session, "local").id
            assert row.trainable is ("ratchet" not in body)
    assert at_the_page(open_bot).get("/v1/admin/cycles").status_code == 403
    assert at_the_page(open_bot).get("/admin", headers={"Accept": "text/html"}).headers["location"].startswith("/login")


@pytest.mark.parametrize(
    ("address", "host", "headers", "code"),
    [
        (("::1", 1), "localhost:8000", {"Sec-Fetch-Site": "same-origin"}, 200),
        (HERE, "127.0.0.1:8000", {}, 403),
        (("192.0.2.7", 1), "127.0.0.1:8000", {}, 401),
        (HERE, "rebound.example:8000", {}, 401),
        (HERE, "127.0.0.1:8000", {"X-Forwarded-For": "192.0.2.7"}, 401),
        (HERE, "127.0.0.1:8000", {"Sec-Fetch-Site": "cross-site"}, 403),
        (HERE, "127.0.0.1:8000", {"Origin": "http://evil.example"}, 403),
    ],
)
def test_open_chat_is_for_this_machine_and_its_own_pages(
    open_bot: QueuedBot, address: tuple[str, int], host: str, headers: dict[str, str], code: int
) -> None:
    cookie = {"Cookie": f"{COOKIE}={at_the_page(open_bot).cookies[COOKIE]}"}
    headers = {"Sec-Fetch-Site": "same-origin", **headers, **cookie} if code == 401 else {**headers, **cookie}
    response = visitor(open_bot, address, host).post("/v1/search", json={"query": "Aare"}, headers=headers)
    assert response.status_code == code


def test_open_chat_is_off_when_somebody_with_an_account_is_called_local(tmp_path: Path) -> None:
    with queued_bot(tmp_path, open_chat=True) as bot:
        people.add(bot.database, "local", role=Role.ADMIN, actor="test", password=PASSWORD)
        response = visitor(bot).get("/")
        assert response.status_code == 401 and "open chat is off" in response.json()["error"]["message"]
