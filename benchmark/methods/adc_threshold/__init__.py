"""A threshold on the apparent diffusion coefficient; see the README beside this file."""

from benchmark.methods.adc_threshold.module import ADCThreshold

__all__ = ["ADCThreshold"]
