"""Train as one rank of several: ``python -m reprune.training.rank_worker FOLDER``, started by torch's launcher."""

import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from reprune.config import entry_points
from reprune.errors import RepruneError, StepError
from reprune.training import job
from reprune.training.gradient_accumulation import MemoryExhausted

ERRORS = "error-*.json"


def main() -> None:
    """Join the others, do the job, and leave word of what went wrong."""
    folder, rank, size = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _end_with_launcher()
    torch.set_num_threads(max(torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"]), 1))
    try:
        dist.init_process_group("gloo", rank=rank, world_size=size)
        job.do(folder, first=rank == 0)
        dist.destroy_process_group()
    except MemoryExhausted as error:
        _leave(folder, rank, {"kind": "MemoryExhausted", "tried": error.tried, "message": error.reason})
    except RepruneError as error:
        told = {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
        _leave(folder, rank, told | {"exit_code": error.exit_code})
    except Exception as error:
        traceback.print_exc()
        remedy = "The log has the whole traceback."
        _leave(folder, rank, {"kind": "", "message": f"{entry_points.describe(error)}.", "remedy": remedy})


def _leave(folder: Path, rank: int, told: dict[str, object]) -> None:
    (folder / f"error-{rank}.json").write_text(json.dumps(told))
    os._exit(int(str(told.get("exit_code", StepError.exit_code))))  # others may wait for this process: no farewell


def _end_with_launcher() -> None:
    """End when the launcher was killed: nobody would collect the result."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(0.5)
        os._exit(StepError.exit_code)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
