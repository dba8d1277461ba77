"""A short run of the oracle, and its checker: each of its rules can fail."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.services import ROOT

# Seconds for the run, with all that it starts
WALL_TIME = 120


def test_short_run() -> None:
    """Random writers, readers and faults of all kinds for half a minute: every promise is kept."""
    command = [sys.executable, "-m", "tests.oracle", "--seed", "1", "--transactions", "700"]
    done = subprocess.run(
        [*command, "--faults", "all", "--shrink", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WALL_TIME,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, "\n".join([*lines[-80:], done.stderr[-3000:]])
    summary = json.loads(lines[-1])
    assert summary["passed"]
    assert summary["resumes without a snapshot"]
