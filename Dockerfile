# The whole pipeline, with no more than a volume:
#   docker build -t frmdn .
#   docker run --rm --shm-size 1g -v frmdn-runs:/work/runs frmdn
#   docker run --rm --shm-size 1g -v frmdn-runs:/work/runs --gpus all frmdn run --env CarRacing-v3 --preset standard --out runs/car
FROM python:3.11-slim-bookworm

# OpenCV's wheel loads libGL and GLib even where nothing is ever shown.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/frmdn
COPY pyproject.toml README.md LICENSE ./
COPY frmdn frmdn
COPY agent agent
COPY envs envs
COPY rollouts rollouts
COPY controller controller
COPY pipeline pipeline
COPY benchmarks benchmarks

RUN python -m pip install --no-cache-dir .

# docker build --build-arg MARIO=1: Super Mario Bros too. Its package brings the game's ROM, which is not this project's to
# give away, so the image has it only if you ask for it; do not publish such an image.
ARG MARIO=
RUN if [ -n "$MARIO" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends g++ \
        && python -m pip install --no-cache-dir '.[mario]' \
        && (frmdn emulator || true) \
        && apt-get purge --yes --auto-remove g++ && rm -rf /var/lib/apt/lists/*; \
    fi

# Open to any user id, so that `docker run --user` and bind mounts work as well as the volume.
RUN useradd --create-home --uid 1000 frmdn \
    && mkdir -p /work/runs \
    && chown -R frmdn:frmdn /work \
    && chmod 1777 /work/runs
USER frmdn
WORKDIR /work
VOLUME /work/runs
# Ray's and torch's thread counts are set by frmdn itself; nothing else is asked of the environment.
ENV PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["frmdn"]
CMD ["run", "--env", "CarRacing-v3", "--preset", "quick", "--out", "runs/quick"]
