"""BayesFlow's BasicWorkflow with the defaults of `fit_offline`: 100 epochs in batches of 32.

A CouplingFlow, with a DeepSet for sets and a TimeSeriesNetwork for series. All variables are
standardised and parameters of bounded prior constrained to it, the ways its documentation offers;
it is validated on nothing, so it trains on every row. Batches of series need one length: that of
the longest, padded in front, with a second channel that says where counts are (one length per batch
would let jax compile anew for each of 400 lengths). The backend is that of KERAS_BACKEND.
"""

import math
from collections.abc import Callable
from typing import Any

import bayesflow as bf
import keras
import numpy as np

import sbi_kit as sk
from tests.benchmarks.peers.clock import Course, Trained
from tests.benchmarks.peers.tasks import FIT_SEED, Task, as_table

_NETWORKS = {
    sk.Vector: None,
    sk.Exchangeable: bf.networks.DeepSet,
    sk.Series: bf.networks.TimeSeriesNetwork,
}


class _Watch(keras.callbacks.Callback):
    """Calls `watch` some 25 times, at the end of epochs, as judging takes seconds here.

    And stops at the end of an epoch when the time is up.
    """

    def __init__(self, watch: Callable[[], None], course: Course) -> None:
        super().__init__()
        self.watch, self.course = watch, course

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        late = epoch + 1 < self.params["epochs"] and self.course.late()
        if late:
            self.model.stop_training = self.course.cut_off = True
        if late or (epoch + 1) % max(1, self.params["epochs"] // 25) == 0:
            self.watch()


def train(
    task: Task, bank: Any, held_out: Any, epochs: int | None, *, cpu_seconds: float = math.inf
) -> Trained:
    """Train the workflow, for about that time at most."""
    keras.utils.set_random_seed(FIT_SEED)
    data = _data(task, *bank.take(slice(None)))
    judged = _data(task, *held_out.take(slice(None)))
    course = Course(cpu_seconds)
    network = _NETWORKS[type(task.model.data)]
    workflow = bf.BasicWorkflow(
        adapter=_adapter(task, summarised=network is not None),
        inference_network=bf.networks.CouplingFlow(),
        summary_network=network and network(),
        standardize="all",
    )

    def watch() -> None:
        course.judge(lambda: -float(workflow.log_prob(judged).mean()))

    limit = {} if epochs is None else {"epochs": epochs}
    history = workflow.fit_offline(data, callbacks=[_Watch(watch, course)], verbose=0, **limit)
    seconds = course.clock.seconds()

    def log_prob(theta: np.ndarray, x: Any) -> np.ndarray:
        return np.asarray(workflow.log_prob(_data(task, theta, x)), dtype=np.float64)

    def sample(x: Any, draws: int) -> np.ndarray:
        return workflow.sample(num_samples=draws, conditions={"x": as_table(task, x)})["theta"]

    name = network.__name__ if network else "no summary"
    settings = f"{name}, {course.trained_for(len(history.epoch))}"
    return Trained(log_prob, sample, course.curve, seconds, settings)


def _data(task: Task, theta: np.ndarray, x: Any) -> dict[str, np.ndarray]:
    return {"theta": theta, "x": as_table(task, x)}


def _adapter(task: Task, *, summarised: bool) -> bf.Adapter:
    adapter = bf.Adapter()
    if task.bounds is not None:
        adapter = adapter.constrain("theta", lower=task.bounds[0], upper=task.bounds[1])
    role = "summary_variables" if summarised else "inference_conditions"
    adapter = adapter.convert_dtype("float64", "float32")
    return adapter.rename("theta", "inference_variables").rename("x", role)
