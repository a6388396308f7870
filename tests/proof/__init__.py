"""The proof that nothing is lost, whatever happens.

The whole bridge runs in memory, with a fake clock and scripts. A scenario of weeks takes milliseconds, so it can run
thousands of times, each time with another fault:

    calls.py, outside.py, queue.py      every call to the outside, numbered; what can go wrong with it
    simulation.py, instance.py          the world: processes that die and start again, clients that repeat themselves
    rows.py, invariants.py              what must hold between any two commits, and at the end of a life
    scenarios.py, crashes.py            one thing, or several, going wrong at every call of a life
    baton.py, races.py,                 two and three invocations, in every order of their calls, with clocks that
      interleavings.py                  differ
    model.py, machine.py                anything after anything, drawn by Hypothesis, against a model
    fuzz_strategies.py                  what strangers send, and write into queue and table
    real/                               the started app over Azurite, killed and loaded
    fault_injection.py                  faults injected on purpose: the proof has to find them

`make test` runs a short form of each; `make prove` all of it, with a summary. A failure names the scenario or race, the
plan or the turns, and the seed: `crashes.live` and `interleavings.run_race` repeat it. `PROVE_SEED` sets the seed of
what is drawn, for both. What proves something on real parts joins `PARTS` in `__main__.py`.
"""
