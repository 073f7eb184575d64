"""Train stroke lesion segmentation methods under one protocol and keep their predictions as files."""
