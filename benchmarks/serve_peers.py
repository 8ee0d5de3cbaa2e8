"""Other ways to serve the same codes: LanceDB, and faiss behind a bare FastAPI.

Milvus Lite isn't among them: 3.2 has no binary vectors ("BinaryVector which MilvusLite does not support").

Shapes: N codes, Y bytes a code.
"""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.codes import Codes, all_nearest
from pipelines.demo.objectstore import free_port

K = 10
Ask = Callable[[Codes], list[int]]
"""From a code to the distances [bits] of what was found."""


def compare(codes_NY: Codes, rows: list[int], folder: Path, console: Console) -> None:
    """Print latency and recall of each peer that is installed, one client, one query at a time."""
    wanted = [distances for _, distances in all_nearest(codes_NY, codes_NY[rows], K)]
    table = Table("peer", "p50 ms", "p99 ms", "recall@10", title=f"{len(codes_NY)} codes, one client")
    for name, start in (
        ("faiss Flat, FastAPI", _faiss),
        ("LanceDB, Hamming", _lance),
    ):
        try:
            with start(codes_NY, folder) as ask:
                ask(codes_NY[rows[0]])
                seconds, recalls = [], []
                for row, distances in zip(rows, wanted, strict=True):
                    started = time.perf_counter()
                    found = ask(codes_NY[row])
                    seconds.append(time.perf_counter() - started)
                    # ties count as found: what matters is how near the answers are
                    recalls.append(np.mean(np.sort(found)[:K] <= distances[-1]) if len(found) else 0.0)
        except ImportError as error:
            table.add_row(name, "not installed", str(error), "")
            continue
        shares = [f"{np.percentile(seconds, share) * 1000:.1f}" for share in (50, 99)]
        table.add_row(name, *shares, f"{np.mean(recalls):.3f}")
    console.print(table)


@contextmanager
def _faiss(codes_NY: Codes, folder: Path) -> Iterator[Ask]:
    np.save(folder / "codes.npy", codes_NY)
    port = free_port()
    server = get_context("spawn").Process(target=_serve_faiss, args=(folder / "codes.npy", port), daemon=True)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(300):
            try:
                client.get("/")
                break
            except httpx.TransportError:
                time.sleep(0.1)

        def ask(code_Y: Codes) -> list[int]:
            distances: list[int] = client.post("/search", json={"code": code_Y.tobytes().hex()}).json()
            return distances

        try:
            yield ask
        finally:
            server.terminate()
            server.join()


def _serve_faiss(path: Path, port: int) -> None:
    import faiss
    import uvicorn
    from fastapi import FastAPI

    codes_NY = np.load(path)
    index = faiss.IndexBinaryFlat(codes_NY.shape[1] * 8)
    index.add(codes_NY)
    app = FastAPI()

    def search(query: dict[str, str]) -> list[int]:
        code_Y = np.frombuffer(bytes.fromhex(query["code"]), np.uint8)
        distances: list[int] = index.search(code_Y[None], K)[0][0].tolist()
        return distances

    app.post("/search")(search)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


@contextmanager
def _lance(codes_NY: Codes, folder: Path) -> Iterator[Ask]:
    lancedb = importlib.import_module("lancedb")
    width = codes_NY.shape[1]

    def batches() -> Iterable[pa.RecordBatch]:
        for start in range(0, len(codes_NY), 100_000):
            flat = pa.array(codes_NY[start : start + 100_000].ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, width)
            yield pa.RecordBatch.from_arrays([vectors], ["vector"])

    schema = pa.schema([("vector", pa.list_(pa.uint8(), width))])
    table = lancedb.connect(str(folder / "lance")).create_table("codes", batches(), schema=schema)

    def ask(code_Y: Codes) -> list[int]:
        found = (
            table.search(code_Y.tolist(), query_type="vector").distance_type("hamming").limit(K).to_arrow()
        )
        return [int(distance) for distance in found["_distance"].to_pylist()]

    yield ask
