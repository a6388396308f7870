"""The seed of everything that is drawn: printed with each failure, and set by `PROVE_SEED`."""

import os

#: Drawn anew by nobody: a run repeats itself unless another one is given.
SEED = int(os.environ.get("PROVE_SEED") or "20261123")
