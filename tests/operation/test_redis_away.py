"""Redis only says "look now": without it, requests go on and changes still arrive within a second."""

from __future__ import annotations

from tests.kit.requests import ask
from tests.kit.services import processes


def test_changes_arrive_while_redis_is_away_and_after(start_sluice):
    server = start_sluice(redis=True, workers=2, simulated=True)
    key, other = server.mint(name="one"), server.mint(name="other")
    server.redis.stop()
    assert ask(server, key).status_code == 200
    ids = {row["name"]: row["id"] for row in server.api("GET", "/api/keys/").json()["results"]}
    assert server.api("POST", f"/api/keys/{ids['one']}/revoke/").status_code == 200
    # Each on a connection of its own: any of the workers may get it.
    assert processes.poll(lambda: {ask(server, key).status_code for _ in range(12)} == {401}, timeout=20)
    assert ask(server, other).status_code == 200

    def tries() -> float:
        return server.metrics().total("llm_proxy_loop_failures_total", loop="change-channel")

    assert processes.poll(lambda: tries() >= 8, timeout=20), "they go on trying"
    server.redis.start()
    assert server.api("POST", f"/api/keys/{ids['other']}/revoke/").status_code == 200
    assert processes.poll(lambda: {ask(server, other).status_code for _ in range(12)} == {401}, timeout=20)
    told = [line for line in server.log_text().splitlines() if "Redis does not tell" in line]
    assert 1 <= len(told) <= 4, "once for each worker and time, not twice a second"
    assert "The loop change-channel failed" not in server.log_text(), "which was said once"
