"""Timer triggers: one invocation at a time, by the schedule."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from azure.functions.meta import Datum

from local.host.index import Function, TimerTrigger
from local.host.worker import Worker

#: The argument of the function. IsPastDue reports ticks that were missed while the app was down, which only the
#: monitor knows. An invocation that is late after an overrun is not past due.
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
    """Run a function by its schedule until `wait`, which waits for a duration, returns True because the host stops.

    A crash loses only ticks. Missed ticks are not made up for, like in Azure without the monitor.
    """
    due = trigger.schedule.after(now())
    while not wait(max(due - now(), timedelta())):
        started = now()
        worker.submit(function, Datum(_TIMER_INFO, "json")).exception()
        due = trigger.schedule.following(due, started)
