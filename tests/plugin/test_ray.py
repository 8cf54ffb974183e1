"""Ray's Worker class trains with DBA. Ray is optional for the host, so this runs only where it is installed."""

import json
import socket
import subprocess
import sys

import pytest
import support


pytest.importorskip("ray", reason="ray is not installed")

CODE = """
import json, sys
import ray
ray.init(num_cpus=1, include_dashboard=False, logging_level="error", _node_ip_address="127.0.0.1")
from llamafactory.train.tuner import Worker
# what the host gives each worker (get_ray_remote_config_for_worker), without its placement group, which asks for
# ten CPUs per worker
variables = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[2]}
worker = ray.remote(Worker).options(num_cpus=1, runtime_env={"env_vars": variables}).remote()
ray.get(worker._training_function.remote(config={"args": json.loads(sys.argv[1]), "callbacks": []}))
ray.shutdown()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_worker_trains_with_dba(world, tmp_path):
    args = support.arguments(world, tmp_path / "run", max_steps=2)
    result = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(args), str(free_port())],
        capture_output=True,
        text=True,
        env=support.environment(),
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(support.step_log(tmp_path / "run")) == 2
