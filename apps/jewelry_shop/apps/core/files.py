"""Files that are complete or absent, and the store they are in.

Every pod has its own store unless the directory is a shared volume. A store is known by an id in a file
of its own, so that a row in the database tells whether its file ought to be found here.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STORE_FILE = ".store"


def store_id(directory: Path) -> str:
    """The id of the store in `directory`, made when there is none; two processes agree on one."""
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / STORE_FILE
    if not marker.exists():
        mine = directory / f"{STORE_FILE}.{uuid.uuid4()}"
        mine.write_text(str(uuid.uuid4()))
        try:
            os.link(mine, marker)  # fails when another process was first, unlike a rename
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return marker.read_text()


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path`, on disk, when the block ends well, and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4()}")
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hex digest of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
