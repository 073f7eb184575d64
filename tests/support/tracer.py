"""The passage of a tracer through tissue of known perfusion."""

import numpy as np

from benchmark.cohort.twin.perfusion import TABLE_STEP_S, arterial_input, enhancement

TIMES = np.arange(46.0)
AIF = arterial_input(1.0)[0][np.round(TIMES / TABLE_STEP_S).astype(int)]


def curve(cbf, mtt, delay, vessel=0.0):
    one = np.array([1.0], dtype=np.float32)
    return enhancement(cbf * one, mtt * one, delay * one, vessel * one, TIMES, 1.0)[0]
