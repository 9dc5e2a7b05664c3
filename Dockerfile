# Two images from one file: `--build-arg EXTRAS=""` for the API, the workflow and the migration containers,
# `--build-arg EXTRAS="[engine]"` for workers that run local models (with torch, several GB on PyPI's CUDA build).

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/genpulse
COPY . .
ARG EXTRAS=""
RUN /opt/genpulse/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".${EXTRAS}"

FROM python:3.11-slim
# torch must not spin while it waits for a core, and nothing may ask a model hub.
ENV PATH=/opt/genpulse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    HF_HUB_OFFLINE=1 \
    TOKENIZERS_PARALLELISM=false \
    GENPULSE_DATA_DIR=/var/lib/genpulse
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/genpulse genpulse
COPY --from=build /opt/genpulse /opt/genpulse
USER genpulse
WORKDIR /var/lib/genpulse
ENTRYPOINT ["genpulse"]
