"""Score and rank stroke lesion segmentations; imports neither torch nor benchmark."""
