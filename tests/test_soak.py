"""Short runs of the soak: each of its promises, with few clients and for a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.services import ROOT

# Seconds for all of them, with all that they start
WALL_TIME = 180


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    """All of them on the same servers, one after the other."""
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", "all", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WALL_TIME,
        check=False,
    )


def report(run: subprocess.CompletedProcess[str], name: str) -> dict[str, Any]:
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    reports = {found["name"]: found for found in map(json.loads, lines)}
    assert name in reports, f"{run.stdout[-2000:]}\n{run.stderr[-3000:]}"
    found: dict[str, Any] = reports[name]
    assert found["passed"], found["broken"]
    return found


def test_drops(run: subprocess.CompletedProcess[str]) -> None:
    """Whatever is dropped, restarted or killed, every page has the right state at the end, and a last write."""
    found = report(run, "drops")
    assert found["silent"] == found["wrong"] == 0
    assert found["resumes"]["drop"]["without a snapshot"]


def test_subscriptions(run: subprocess.CompletedProcess[str]) -> None:
    """Nothing is left of a subscription, however it ended."""
    assert report(run, "subscriptions")["measured"] > 500


def test_churn(run: subprocess.CompletedProcess[str]) -> None:
    """Nothing is left of rooms that came and went under their viewers."""
    assert report(run, "churn")["rooms deleted"]


def test_herd(run: subprocess.CompletedProcess[str]) -> None:
    """All clients of a room return at once after a restart: one load at most, and no error."""
    found = report(run, "herd")
    assert found["cursors"]["loads"] == 0
    assert found["pages, no cache"]["loads"] == 1


def test_exit_code(run: subprocess.CompletedProcess[str]) -> None:
    """It is 0 if all promises were kept."""
    assert run.returncode == 0, run.stderr[-3000:]
