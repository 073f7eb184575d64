"""Thresholds on relative CBF and Tmax, as clinical software sets them: the reference rows."""

from benchmark.methods.perfusion_threshold.module import PerfusionThreshold

__all__ = ["PerfusionThreshold"]
