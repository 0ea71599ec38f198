"""Claims about /metrics: off unless the settings say so, open then, and nothing in it that anybody wrote."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.queued import QUESTION, ask, error, queued_bot


def test_metrics_are_off_unless_the_settings_say_so(tmp_path: Path) -> None:
    with queued_bot(tmp_path) as bot, TestClient(bot.app) as client:
        response = client.get("/metrics")
    assert response.status_code == 404 and error(response)["hint"].startswith("Set server.metrics: true")


def test_metrics_count_requests_by_route_and_what_the_store_holds(tmp_path: Path) -> None:
    with queued_bot(tmp_path, metrics=True) as bot, TestClient(bot.app) as client:
        exchange = ask(client, headers=bot.headers("chat")).json()["ratchet"]["exchange_id"]
        client.post("/v1/feedback", json={"exchange_id": exchange, "rating": "up"}, headers=bot.headers("chat"))
        client.get(f"/v1/exchanges/{exchange}", headers=bot.headers("other"))
        client.get("/nope/secret-path")
        client.request("ANY1", "/livez")
        response = client.get("/metrics")
    assert response.status_code == 200 and exchange not in response.text
    assert QUESTION not in response.text and "secret-path" not in response.text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert found["ratchet_http_requests_total", "POST", "/v1/chat/completions", "200"] == 1
    assert found["ratchet_http_requests_total", "GET", "none", "404"] == 1
    assert found["ratchet_http_requests_total", "other", "/livez", "405"] == 1
    assert found["ratchet_http_request_seconds_count", "/v1/chat/completions"] == 1
    assert (found["ratchet_exchanges", "finished"], found["ratchet_feedback", "up"]) == (1, 1)
    assert (found["ratchet_serving_share", "base"], found["ratchet_processes", "bot"]) == (1.0, 1)
