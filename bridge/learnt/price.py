"""The learnt schedule: the price of a request to a source. The price rises while more polls are due than allowed."""

import math

from bridge.domain.poll_schedule import Sale
from bridge.domain.rate_limit import SWEEP

#: The price changes by at most these factors from one sweep to the next. It is never above HIGHEST_PRICE.
PRICE_RISES, PRICE_FALLS, HIGHEST_PRICE = 1.1, 0.9, 1e4


def update_price(shadow_price: float, sale: Sale) -> float:
    """Move the shadow price towards the price at which as many polls fall due as the budget allows.

    The price is in base prices, and so is `sale.worth`. The base price is the lowest. If more polls were wanted than
    granted, the aim is the worth of the last poll granted. With a higher price, polls that are worth that much would
    wait for the bounds of their gaps. Otherwise the price falls with the tokens left, and with sweeps without polls.
    """
    idle = max(sale.elapsed / SWEEP - 1, 0.0)
    fallen = shadow_price * math.pow(PRICE_FALLS, idle)
    aim = sale.worth if sale.granted < sale.wanted else fallen * sale.wanted / (sale.granted + sale.left)
    shadow_price = min(max(aim, fallen * PRICE_FALLS), shadow_price * PRICE_RISES)
    return min(max(shadow_price, 1.0), HIGHEST_PRICE)
