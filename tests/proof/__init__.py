"""The proof that no accepted registration is lost.

The whole bridge runs in memory, with a fake clock and scripts. A scenario of weeks takes milliseconds, so thousands of
runs are possible, each with another fault:

    calls.py, outside.py, queue.py      every call to the outside, numbered, and the possible faults of each
    simulation.py, instance.py          processes that die and start again, clients that repeat their requests
    rows.py, invariants.py              invariants between any two commits, and of a whole scenario
    scenarios.py, crashes.py            one or more faults at every call of a scenario
    baton.py, races.py,                 two and three invocations, in every order of their calls, with clocks that
      interleavings.py                  differ
    model.py, machine.py                events in any order, drawn by Hypothesis and compared with a model
    fuzz_strategies.py                  arbitrary requests, and foreign content in queue and table
    real/                               the started app over Azurite, killed and loaded
    fault_injection.py                  injected faults, all of which the proof must find

`make test` runs a short form of each part. `make prove` runs all of them and prints a summary. A failure names the
scenario or race, the plan or the turns, and the seed. `crashes.live` and `interleavings.run_race` repeat the failure.
`PROVE_SEED` sets the seed of all random draws, for both. Parts on real storage are added to `PARTS` in `__main__.py`.
"""
