"""Makes the clock of the processes that load it wrong by SECONDS_OFF."""

import os
import time

_TRUE = time.time
_OFF = float(os.environ["SECONDS_OFF"])

time.time = lambda: _TRUE() + _OFF
