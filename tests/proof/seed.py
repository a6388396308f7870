"""The seed of all random draws: printed with each failure, and set by `PROVE_SEED`."""

import os

#: The default seed is fixed, so a run repeats the last one unless `PROVE_SEED` is set.
SEED = int(os.environ.get("PROVE_SEED") or "20261123")
