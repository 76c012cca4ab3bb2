# The service. CPU:   docker build --tag foveal .
#              CUDA:  docker build --tag foveal:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN useradd --create-home --uid 1000 foveal && mkdir /data && chown foveal /data
WORKDIR /app
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch \
 && pip install --no-cache-dir '.[serve,starter,hub]'
USER foveal
ENV HF_HOME=/data/models
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["foveal"]
CMD ["serve", "/data/photos.index", "--host", "0.0.0.0", "--key-file", "/data/key"]
