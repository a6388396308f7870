"""A sweep's polls against bare requests: what following an operation costs beside asking for it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import requests

from bench.composed import Composed, composed
from bench.loopback import Loopback
from bench.measuring import Figures, Pair, Scale, seconds


def measure(scale: Scale) -> Figures:
    """Compare polls per second of a sweep with a bare loop of as many threads over `requests.Session.get`.

    Storage is in memory; both ask the same server, which answers at once. The bare loop has a session a thread, takes
    no settings from the environment, and reads what is answered, as the sweep does.
    """
    with Loopback.start() as upstream:
        bridge = composed(environment={"SPEECH_ENDPOINT": upstream.url})
        for number in range(scale.polls):
            bridge.register(f"operation-{number:06d}")
        paths = [f"{upstream.url}/avatar/operations/operation-{number:06d}" for number in range(scale.polls)]
        threads = bridge.settings.sweep_threads
        ours = partial(_sweep, bridge)
        bare = partial(seconds, partial(ask_bare, paths, threads))
        pair = Pair.alternating(bare, ours, scale.rounds)
    return {
        "sweep.vs_requests": pair.ratio,
        "sweep.polls_per_second": scale.polls / median(pair.second),
        "sweep.requests_per_second": scale.polls / median(pair.first),
    }


def _sweep(bridge: Composed) -> float:
    return seconds(bridge.sweep_later)


def ask_bare(urls: Iterable[str], threads: int) -> None:
    """Get each, with so many threads that take the next one when they are done."""
    left = iter(urls)

    def ask() -> None:
        with requests.Session() as session:
            session.trust_env = False
            for url in left:  # iterators of lists may be shared by threads
                session.get(url, params={"api-version": "2024-08-01"}, headers=_HEADERS, timeout=15).raise_for_status()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(ask) for _ in range(threads)]:
            done.result()


#: What the bridge sends too.
_HEADERS = {"Ocp-Apim-Subscription-Key": "benchmark", "Accept": "application/json", "Accept-Encoding": "identity"}
