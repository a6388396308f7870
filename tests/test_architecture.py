"""ARCHITECTURE.md is held against the code."""

import re
from pathlib import Path

from bridge.domain.registration import TRANSITIONS, State, Transition

TEXT = (Path(__file__).parent.parent / "ARCHITECTURE.md").read_text()
DRAWN = re.compile(r"^\s+(\w+) --> (\w+): (.+?)\s*$", re.MULTILINE)


def test_the_drawing_of_the_state_machine_is_the_state_machine() -> None:
    """Every move is drawn, and nothing else is."""
    drawn = {(State(origin), Transition(move)): State(target) for origin, target, move in DRAWN.findall(TEXT)}

    assert drawn == dict(TRANSITIONS)


def test_every_state_is_explained() -> None:
    """In the table under the drawing."""
    assert {state for state in State if f"| `{state}` |" in TEXT} == set(State)


def test_every_file_that_it_names_is_there() -> None:
    """A map of streets that exist."""
    root = Path(__file__).parent.parent
    named = set(re.findall(r"`((?:bridge|local|tests|infra|bench)/[\w/.-]+)`", TEXT))

    assert named
    assert {name for name in named if not (root / name).exists()} == set()
