"""Claims about signing in through an identity provider, against a real one on loopback."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import OctKey, RSAKey
from starlette.testclient import TestClient

from bot.oidc import COOKIE, Provider, checked
from store import people
from store.errors import Invalid
from store.models import Role
from tests.oidc_server import CLIENT, SECRET, OidcServer, oidc_server
from tests.queued import PASSWORD, QueuedBot, queued_bot


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    with oidc_server() as server:
        yield server


@pytest.fixture
def server(provider: OidcServer) -> OidcServer:
    provider.user = {"sub": "u-1", "preferred_username": "ada"}
    provider.spoil, provider.signs_with, provider.algorithm = (lambda claims: claims), None, "RS256"
    return provider


@pytest.fixture
def bot(server: OidcServer, tmp_path: Path) -> Iterator[QueuedBot]:
    chosen = Provider(
        issuer=server.issuer,
        client_id=CLIENT,
        client_secret=SECRET,
        role_claim="groups",
        admins=["ops"],
        reviewers=["editors"],
    )
    with queued_bot(tmp_path, provider=chosen) as bot:
        yield bot


@pytest.fixture
def browser(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as browser:
        yield browser


def way_back(browser: TestClient, next: str = "/admin") -> str:
    """The address that the provider sends the browser back to."""
    begun = browser.get("/oidc/login", params={"next": next}, follow_redirects=False)
    assert begun.status_code == 303, begun.text
    answer = httpx2.get(begun.headers["location"], follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def signed_in(browser: TestClient, next: str = "/admin") -> httpx2.Response:
    return browser.get(way_back(browser, next), follow_redirects=False)


def message(response: httpx2.Response) -> str:
    return str(response.json()["error"]["message"])


def test_somebody_signs_in_with_the_role_of_their_groups_and_goes_on(browser: TestClient, server: OidcServer) -> None:
    server.user = {**server.user, "groups": ["staff", "ops"]}
    done = signed_in(browser)
    assert (done.status_code, done.headers["location"]) == (303, "/admin")
    assert browser.get("/admin").status_code == 200
    users = {one["name"]: one["role"] for one in browser.get("/v1/admin/users").json()["data"]}
    assert users["ada"] == Role.ADMIN


def test_a_role_that_was_taken_away_there_is_gone_here(browser: TestClient, bot: QueuedBot, server: OidcServer) -> None:
    server.user = {**server.user, "groups": "editors"}
    signed_in(browser)
    assert role_of(bot, "ada") == Role.REVIEWER
    server.user = {"sub": "u-1", "preferred_username": "renamed"}
    signed_in(browser)
    assert role_of(bot, "ada") == Role.CHAT
    assert browser.get("/admin").status_code == 403


def role_of(bot: QueuedBot, name: str) -> str:
    with bot.database.read() as session:
        return people.find(session, name).role


def test_a_name_from_elsewhere_takes_over_no_account_here(
    browser: TestClient, bot: QueuedBot, server: OidcServer
) -> None:
    server.user = {"sub": "u-2", "preferred_username": "admin"}
    signed_in(browser)
    assert role_of(bot, "admin (2)") == Role.CHAT
    assert people.sign_in(bot.database, "admin", PASSWORD)


def test_whoever_was_erased_comes_as_somebody_new(browser: TestClient, bot: QueuedBot) -> None:
    signed_in(browser)
    with bot.database.read() as session:
        first = people.find(session, "ada").id
    people.erase(bot.database, "ada", actor="test")
    signed_in(browser)
    with bot.database.read() as session:
        assert people.find(session, "ada").id != first


def test_an_answer_fits_only_the_browser_that_asked(browser: TestClient) -> None:
    back = way_back(browser)
    browser.cookies.delete(COOKIE, path="/oidc")
    stolen = browser.get(back, follow_redirects=False)
    assert stolen.status_code == 403
    assert message(stolen) == "this sign-in was not begun in this browser, or took too long."


def test_a_code_works_once(browser: TestClient) -> None:
    back = way_back(browser)
    secret = browser.cookies.get(COOKIE)
    assert browser.get(back, follow_redirects=False).status_code == 303
    browser.cookies.set(COOKIE, str(secret), path="/oidc")
    again = browser.get(back, follow_redirects=False)
    assert (again.status_code, message(again)[:36]) == (403, "the identity provider refused the co")


@pytest.mark.parametrize(
    ("claim", "value"), [("aud", "another"), ("iss", "https://evil.example"), ("nonce", "old"), ("exp", 1)]
)
def test_a_token_for_somebody_or_something_else_is_refused(
    browser: TestClient, server: OidcServer, claim: str, value: object
) -> None:
    server.spoil = lambda claims: {**claims, claim: value}
    refused = signed_in(browser)
    assert refused.status_code == 403
    assert message(refused).startswith("the identity provider's token is not valid: ")


def test_a_token_signed_by_another_key_is_refused(browser: TestClient, server: OidcServer) -> None:
    server.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    assert signed_in(browser).status_code == 403


def test_a_token_signed_with_a_shared_secret_is_refused(browser: TestClient, server: OidcServer) -> None:
    server.signs_with, server.algorithm = OctKey.import_key("x" * 32), "HS256"  # type: ignore[assignment]
    assert signed_in(browser).status_code == 403


def test_new_keys_of_the_provider_are_read_at_once(browser: TestClient, server: OidcServer) -> None:
    assert signed_in(browser).status_code == 303
    server.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    assert signed_in(browser).status_code == 303


def test_a_refusal_of_the_provider_is_told(browser: TestClient) -> None:
    state = parse_qs(urlsplit(way_back(browser)).query)["state"][0]
    refused = browser.get("/oidc/callback", params={"error": "access_denied", "state": state}, follow_redirects=False)
    assert (refused.status_code, message(refused)) == (403, 'the identity provider said "access_denied".')


def test_it_goes_on_to_paths_of_this_site_only(browser: TestClient) -> None:
    assert signed_in(browser, next="https://evil.example/").headers["location"] == "/"


def test_the_login_page_offers_the_provider_only_where_there_is_one(browser: TestClient, tmp_path: Path) -> None:
    assert "/oidc/login" in browser.get("/login").text
    with queued_bot(tmp_path / "other") as other, TestClient(other.app, raise_server_exceptions=False) as client:
        assert "/oidc/login" not in client.get("/login").text
        missing = client.get("/oidc/login", follow_redirects=False)
        assert (missing.status_code, message(missing)) == (404, "no identity provider is set up here.")


def test_a_provider_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    gone = Provider(issuer="http://127.0.0.1:9", client_id=CLIENT, client_secret=SECRET)
    with queued_bot(tmp_path, provider=gone) as bot, TestClient(bot.app, raise_server_exceptions=False) as client:
        response = client.get("/oidc/login", follow_redirects=False)
    assert response.status_code == 503
    assert message(response).startswith("the identity provider at http://127.0.0.1:9 does not answer")


def test_an_issuer_needs_tls_unless_it_is_this_machine() -> None:
    assert checked("https://login.example.org") == "https://login.example.org"
    with pytest.raises(Invalid, match="expected an address that begins with https://"):
        checked("http://login.example.org")
