# ilr-bench on CPUs: docker build --tag ilr-bench . && docker run --rm --volume "$PWD:/work" ilr-bench variants
FROM python:3.11.13-slim-bookworm AS build
# The page or folder that has the wheel of torch for CPUs; its hash stands in the lock.
ARG TORCH_WHEELS=https://download.pytorch.org/whl/cpu/torch/
WORKDIR /source
COPY requirements-cpu.lock ./
RUN python -m venv /opt/ilr-bench \
    && /opt/ilr-bench/bin/pip install --no-cache-dir --require-hashes --find-links "$TORCH_WHEELS" -r requirements-cpu.lock
COPY pyproject.toml README.md LICENSE ./
COPY ablations ./ablations
COPY reports ./reports
COPY ilr_bench ./ilr_bench
RUN /opt/ilr-bench/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/ilr-bench /opt/ilr-bench
RUN useradd --uid 1000 --create-home researcher && mkdir /work && chown researcher /work
USER 1000
WORKDIR /work
# "TOKENIZERS" is no token.
# hadolint ignore=DL3064
ENV PATH=/opt/ilr-bench/bin:$PATH OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false ILR_BENCH_CACHE=/work/.ilr_bench
ENTRYPOINT ["ilr-bench"]
CMD ["--help"]
