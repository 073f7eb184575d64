# The whole suite, for machines with Docker: `benchmark` (torch, GPUs) and `leaderboard`.
#   docker build --tag isles-benchmark .
#   docker run --rm --gpus all --shm-size 8g --volume "$PWD:/work" isles-benchmark benchmark run --config configs/twin.yaml
# The leaderboard alone, without torch: docker build --build-arg EXTRAS= --tag isles-leaderboard .
FROM python:3.12-slim

ARG EXTRAS=[train]
ENV PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib WANDB_MODE=offline
WORKDIR /opt/isles-benchmark
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY benchmark benchmark
COPY leaderboard leaderboard
COPY configs configs
RUN python -m pip install --no-cache-dir -c constraints.txt ".${EXTRAS}"
RUN groupadd --system user && useradd --no-log-init --system --create-home --gid user user
USER user
WORKDIR /work
CMD ["leaderboard", "--help"]
