"""Hypothesis: fetching an archive, with its checksum, is as fast as curl; a cache hit takes well under 10 ms.

    python benchmarks/resolve.py [MEGABYTES]

A server of its own on loopback sends the same random bytes to curl and to `download`, in turns; both write to the same
disk. Then a small model is packed, served, resolved, and resolved again from the cache.
"""

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

ROUNDS = 7


def send_for_ever(listener: socket.socket, path: str) -> None:
    """The fastest server there is: one sendfile for each request."""
    while True:
        connection, _ = listener.accept()
        with connection, open(path, "rb") as file:
            connection.recv(65536)
            size = os.path.getsize(path)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
            connection.sendfile(file)


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(megabytes: int) -> None:
    from keras_hub_layers._src.publish.server import serve
    from keras_hub_layers._src.resolve.download import download
    from keras_hub_layers._src.resolve.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        with open(source, "wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1 << 20))
        listener = socket.create_server(("127.0.0.1", 0))
        server = Process(target=send_for_ever, args=(listener, str(source)), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/m"
        curl, ours = [], []
        download(url, f"{folder}/ours")  # what is imported and allocated once does not count
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(ROUNDS):
            command = ["curl", "-s", "-o", f"{folder}/curl", url]
            curl.append(megabytes / timed(lambda command=command: subprocess.run(command, check=True)))
            ours.append(megabytes / timed(lambda: download(url, f"{folder}/ours")))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        server.terminate()
        ratio = statistics.median(a / b for a, b in zip(ours, curl, strict=True))
        print(f"curl      {statistics.median(curl):7.0f} MiB/s  (median of {ROUNDS}, {megabytes} MiB)")
        print(f"download  {statistics.median(ours):7.0f} MiB/s  with SHA-256; {ratio:.2f} of curl, round by round")
        print(f"memory    {grown / 1024:7.1f} MiB more at its peak")

        model = Path(folder, "models", "encoder")
        (model / "variables").mkdir(parents=True)
        (model / "saved_model.pb").write_bytes(os.urandom(1 << 20))
        os.environ["TFHUB_CACHE_DIR"] = f"{folder}/cache"
        with serve(model.parent) as base:
            first = timed(lambda: resolve(f"{base}/encoder"))
            hits = [timed(lambda: resolve(f"{base}/encoder")) for _ in range(100)]
        print(f"resolve   {first * 1e3:7.2f} ms at first, {statistics.median(hits) * 1e3:.2f} ms from the cache")
        code = "from keras_hub_layers import resolve; resolve(__import__('sys').argv[1])"
        command = [sys.executable, "-c", code, f"{base}/encoder"]
        alone = statistics.median(timed(lambda: subprocess.run(command, check=True)) for _ in range(5))
        empty = [sys.executable, "-c", ""]
        bare = statistics.median(timed(lambda: subprocess.run(empty, check=True)) for _ in range(5))
        print(f"process   {alone * 1e3:7.0f} ms for a hit in a new process, {bare * 1e3:.0f} ms for an empty one")
        print(
            f"load      {os.getloadavg()[0]:7.2f} on {os.cpu_count()} cores: with more than one for each, expect noise"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
