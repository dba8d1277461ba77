"""For short runs, which can't wait for a lease to lapse. Imported before all that takes these numbers over."""

from __future__ import annotations

import os

import rxgraphql.log

if "RX_SOAK_LOOK" in os.environ:
    look = float(os.environ["RX_SOAK_LOOK"])
    vars(rxgraphql.log)["LEASE_MS"] = int(look * 5000)

    import rxgraphql.follower

    vars(rxgraphql.follower)["LOOK_SECONDS"] = look
