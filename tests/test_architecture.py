"""ARCHITECTURE.md agrees with the code."""

import re
from pathlib import Path

from bridge.domain.registration import TRANSITIONS, State, Transition

TEXT = (Path(__file__).parent.parent / "ARCHITECTURE.md").read_text()
DRAWN = re.compile(r"^\s+(\w+) --> (\w+): (.+?)\s*$", re.MULTILINE)


def test_the_drawing_matches_the_state_machine() -> None:
    """The drawing has exactly the transitions of the code."""
    drawn = {(State(origin), Transition(move)): State(target) for origin, target, move in DRAWN.findall(TEXT)}

    assert drawn == dict(TRANSITIONS)


def test_every_state_is_explained() -> None:
    """The table is below the drawing."""
    assert {state for state in State if f"| `{state}` |" in TEXT} == set(State)


def test_every_named_file_exists() -> None:
    root = Path(__file__).parent.parent
    named = set(re.findall(r"`((?:bridge|local|tests|infra|bench)/[\w/.-]+)`", TEXT))

    assert named
    assert {name for name in named if not (root / name).exists()} == set()
