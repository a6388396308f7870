"""Timer triggers: one invocation at a time, by the schedule."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from azure.functions.meta import Datum

from local.host.index import Function, TimerTrigger
from local.host.worker import Worker

#: What the function gets. IsPastDue is about ticks missed while the app was down, known to the monitor alone;
#: an invocation that comes late because the one before it overran does not have it.
_TIMER_INFO = json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False})

_log = logging.getLogger("host")


def run_timer(
    function: Function,
    trigger: TimerTrigger,
    worker: Worker,
    *,
    now: Callable[[], datetime],
    wait: Callable[[timedelta], bool],
) -> None:
    """Run a function by its schedule until `wait`, which waits that long, says that the host stops.

    A crash loses nothing but ticks: as in Azure without the monitor, what was missed is not made up for.
    """
    due = trigger.schedule.after(now())
    while not wait(max(due - now(), timedelta())):
        started = now()
        worker.submit(function, Datum(_TIMER_INFO, "json")).exception()
        due = trigger.schedule.following(due, started)
