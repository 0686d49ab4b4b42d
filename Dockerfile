# syntax=docker/dockerfile:1
# Two images from a folder of wheels, without a network; docs/serve.md says how to fill the folder.
#   docker build --tag sentiformer .                               # a model and its server
#   docker build --tag sentiformer-mlflow --target mlflow .        # MLflow's server

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=serve
WORKDIR /build
COPY wheels/ wheels/
RUN python -m venv /opt/api \
    && /opt/api/bin/pip install --no-cache-dir --no-index --find-links wheels "sentiformer[${EXTRAS}]"

FROM build AS build-mlflow
RUN python -m venv /opt/mlflow \
    && /opt/mlflow/bin/pip install --no-cache-dir --no-index --find-links wheels mlflow

FROM python:${PYTHON}-slim AS base
RUN useradd --uid 10001 --create-home app
USER 10001
WORKDIR /home/app
ENV PYTHONUNBUFFERED=1

FROM base AS mlflow
COPY --from=build-mlflow /opt/mlflow /opt/mlflow
ENV PATH=/opt/mlflow/bin:${PATH} MLFLOW_DISABLE_TELEMETRY=true
RUN mkdir store
VOLUME /home/app/store
EXPOSE 5000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=5)"]
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", \
    "--backend-store-uri", "sqlite:////home/app/store/mlflow.db", \
    "--artifacts-destination", "/home/app/store/artifacts"]

FROM base AS api
ARG MODEL=data/model
COPY --from=build /opt/api /opt/api
COPY ${MODEL} data/model
ENV PATH=/opt/api/bin:${PATH}
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["sentiformer", "demo", "--host", "0.0.0.0"]
