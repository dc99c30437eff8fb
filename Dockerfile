# One image for web, api, worker, scheduler and migrate: `docker build --tag budget-engine .`, then `docker run budget-engine worker`.
# The base is Debian with glibc: hiredis, granian and psycopg2 come as wheels for it. Name it by digest to pin it.
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Every file that is fetched has its digest in locks/, and building fetches nothing.
COPY locks/build.txt locks/run.txt locks/
RUN python -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --require-hashes --no-build-isolation --requirement locks/build.txt \
    && /build/bin/python -m pip wheel --no-cache-dir --require-hashes --no-build-isolation --wheel-dir /wheels --requirement locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY benchmarks benchmarks
COPY lua lua
COPY web web
COPY api api
COPY engine engine
RUN /build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .
# Without pip, and with compiled modules, so that nothing is ever written there.
RUN python -m venv --without-pip /opt/budget-engine \
    && python -m pip --python /opt/budget-engine/bin/python install --no-cache-dir --no-index --no-deps --compile /wheels/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="budget-engine" \
      org.opencontainers.image.description="Real-time advertising budgets on Redis and PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 budget \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin budget
COPY --from=build /opt/budget-engine /opt/budget-engine
ENV PATH=/opt/budget-engine/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BUDGET_WEB_HOST=0.0.0.0 \
    BUDGET_API_HOST=0.0.0.0
USER 10001:10001
WORKDIR /
EXPOSE 8000 8001
# Of the page. Worker and scheduler listen nowhere, and the API elsewhere: switch it off or name theirs, as compose.yaml does.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('BUDGET_WEB_PORT') or 8000}/healthz\", timeout=4)"]
ENTRYPOINT ["budget-engine"]
CMD ["web"]
