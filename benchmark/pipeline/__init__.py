"""From files to batches: preprocessing, the augmentation, sampling and the data module."""
