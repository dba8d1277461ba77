"""The README's quickstart, as a reader would type it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.quickstart import README, Project, cookies, log_in, submit
from tests.services import ROOT, Service
from tests.serving import PATIENCE, Site

STARTED = "Starting development server at"


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Project:
    return Project(tmp_path, {"REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def site(project: Project) -> Iterator[Site]:
    """The project on the screen: checked, migrated and served."""
    project.set_up()
    service = Service(
        [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:0"],
        env=project.env,
        cwd=project.directory,
    )
    try:
        service.output.wait_for(STARTED)
        (port,) = re.findall(rf"{STARTED} http://127\.0\.0\.1:(\d+)/", service.output.text)
        yield Site(int(port))
    finally:
        service.stop()
    assert "Traceback" not in service.output.text


async def test_quickstart(project: Project, site: Site) -> None:
    """The five steps lead to GraphiQL, a live subscription and an item that another process saved."""
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http:
        await log_in(http)
        await submit(http, "/admin/shop/order/add/", {"customer": "Grace"})
        await submit(http, "/admin/shop/item/add/", {"order": "1", "name": "Cake", "quantity": "1"})
        page = await http.get("/graphql/", headers={"Accept": "text/html"})
        assert "<title>GraphiQL</title>" in page.text
        response = await http.get("/graphql/", params={"query": "{ order(id: 1) { customer } }"})
        assert response.json() == {"data": {"order": {"customer": "Grace"}}}
        cookie = cookies(http)

    cake, tea = {"name": "Cake", "quantity": 1}, {"name": "Tea", "quantity": 2}
    async with site.connect(additional_headers={"Cookie": cookie}) as client:
        await client.init()
        await client.subscribe(README["subscription"], id="1")
        assert await client.receive() == next_state([cake])
        project.manage("shell", "--command", README["save"])
        assert await client.receive() == next_state([cake, tea])


def next_state(items: list[dict[str, object]]) -> dict[str, object]:
    state = {"customer": "Grace", "items": items}
    return {"id": "1", "type": "next", "payload": {"data": {"order": {"state": state}}}}


def test_a_fault_is_told(project: Project) -> None:
    """`check` names what is missing in a channel."""
    channels = project.directory / "shop" / "channels.py"
    channels.write_text(README["channels"].replace("has_permission", "may_look"))
    with pytest.raises(AssertionError, match=r"OrderChannel: has_permission\(\) is missing"):
        project.manage("check")
