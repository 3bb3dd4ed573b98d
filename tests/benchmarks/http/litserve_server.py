"""LitServe around the pipeline, its own settings left alone but for the time limit. Started like `naive_server`."""

import os
from typing import Any

import litserve  # type: ignore[import-not-found]
from fastapi import Request

from tests.benchmarks.stock import stock_classifier


class PipelineAPI(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.classifier = stock_classifier(os.environ["MODEL_ID"])

    def decode_request(self, request: Request) -> bytes:
        data: bytes = request["file"].file.read()
        return data

    def predict(self, data: bytes) -> list[dict[str, Any]]:
        return self.classifier(data)

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"scores": output}


if __name__ == "__main__":
    # Its 30 s would answer errors where the others let a client wait.
    server = litserve.LitServer(PipelineAPI(api_path="/classify"), accelerator="cpu", timeout=False)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
