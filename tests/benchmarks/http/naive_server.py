"""The server that everyone writes first: FastAPI around the pipeline. `MODEL_ID=folder PORT=1 python -m <this>`."""

import os
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from tests.benchmarks.stock import stock_classifier


def create_app(folder: str) -> FastAPI:
    classifier = stock_classifier(folder)
    app = FastAPI()
    # Each inference under way holds over half a gigabyte: 32 at once may exhaust the machine, and are no faster.
    turn = threading.Lock()

    # A plain function: FastAPI runs it in a thread, and /livez is answered meanwhile.
    @app.post("/classify")
    def classify(file: UploadFile) -> list[dict[str, Any]]:
        with turn:
            return classifier(file.file.read())

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(os.environ["MODEL_ID"]), port=int(os.environ["PORT"]), access_log=False)
