# syntax=docker/dockerfile:1
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv /opt/fhir-server && \
    /opt/fhir-server/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
COPY . .
RUN /opt/fhir-server/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . && \
    /opt/fhir-server/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.13-slim-bookworm
# libcurl4 is for the embedded database, used when FHIR_SERVER_MONGODB_URI is not set.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libcurl4 && rm -rf /var/lib/apt/lists/* && \
    useradd --system --uid 10001 --create-home --home-dir /var/lib/fhir-server fhir
COPY --from=build /opt/fhir-server /opt/fhir-server
ENV PATH=/opt/fhir-server/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FHIR_SERVER_HOST=0.0.0.0 \
    FHIR_SERVER_DATA=/var/lib/fhir-server/data
USER 10001:10001
WORKDIR /var/lib/fhir-server
VOLUME /var/lib/fhir-server
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["fhir-server"]
CMD ["serve"]
