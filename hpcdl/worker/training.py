"""The training loop: data-parallel, synchronous, as Caffe trained, measured from barrier to barrier."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from hpcdl import networks
from hpcdl.errors import Refused
from hpcdl.records import Missing, Summary
from hpcdl.store import RunFolder
from hpcdl.worker import data, preflight
from hpcdl.worker.acceleration import accelerate, autocast, explained, make_scaler
from hpcdl.worker.clocks import make_clock
from hpcdl.worker.joining import Prospects, introduce, join
from hpcdl.worker.measuring import measure
from hpcdl.worker.models import build, memory_format
from hpcdl.worker.optimizer import make_optimizer, set_learning_rate
from hpcdl.worker.reporter import Measured, Stepped, Verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.networks import Network
    from hpcdl.plan import Launch, Training
    from hpcdl.records import Step
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.beacon import Beacon
    from hpcdl.worker.clocks import Clock
    from hpcdl.worker.data import Batch, Source
    from hpcdl.worker.joining import Rank
    from hpcdl.worker.place import Place
    from hpcdl.worker.reporter import Reporter

ENDLESS = 2**40


def train(launch: Launch, place: Place, folder: LaunchFolder, reporter: Reporter, beacon: Beacon) -> None:
    """One launch of one rank, from the first handshake to the last barrier.

    Raises:
        Refused: The preflight found the launch unfit to be measured.
        Mistake: The data cannot be used.
    """
    rank = join(launch, place, folder, reporter, beacon)
    network = networks.find(launch.train.model)
    layout = choose_layout(launch.train, network, rank.device)
    with contextlib.closing(data.make(request_data(rank, network, layout))) as source:
        network = network.with_classes(source.classes)
        steps = count_steps(launch.train, source.images)
        named = "nhwc" if layout is torch.channels_last else "nchw"
        prospects = Prospects(steps=steps, images=source.images, classes=source.classes, layout=named)
        introduce(rank, prospects, data=source.listing_digest())
        _verify(rank, source)
        trainer = Trainer(rank, network, layout, source.images)
        longest = count_longest(launch.train, steps)
        request = request_data(rank, network, layout)
        measured = measure(trainer, rank, data.feed(source, request, longest), steps)
        accuracy, validated = _validate(rank, trainer.model, source)
    beacon.show(measured.window.steps, "end")
    surroundings = preflight.exchange(measured.conditions, rank.engine)
    if rank.leads:
        summary = Summary(
            window=measured.window,
            final_loss=measured.loss,
            accuracy=accuracy,
            validated_images=validated or None,
            conditions=surroundings,
        )
        reporter.say(Measured(summary=summary))
    rank.engine.close()


def choose_layout(plan: Training, network: Network, device: torch.device) -> torch.memory_format:
    """The memory format asked for; `auto` is the one that is faster for this network on this kind of device."""
    if plan.layout == "auto":
        return memory_format(network, device)
    return torch.channels_last if plan.layout == "nhwc" else torch.contiguous_format


def count_steps(plan: Training, images: int | None) -> int:
    """Steps to measure: as planned, or as many as the epochs take, the last global batch running over.

    Raises:
        Refused: Epochs of a data set that has no end.
    """
    if plan.steps is not None:
        return plan.steps
    if images is None:
        raise Refused("synthetic data have no epochs.", do="Ask for --steps.")
    return math.ceil((plan.epochs or 1) * images / plan.global_batch)


def count_longest(plan: Training, steps: int) -> int:
    """Steps for which there must be batches; a window that has to be filled takes as many as it takes."""
    if plan.min_window_s is not None:
        return ENDLESS
    return plan.warmup + max(steps, plan.max_steps or 0)


class Trainer:
    """The model, its optimizer and the loop over steps."""

    def __init__(self, rank: Rank, network: Network, layout: torch.memory_format, images: int | None) -> None:
        plan = rank.plan
        self.model = build(network, seed=plan.seed, dropout=plan.dropout).to(
            rank.device, memory_format=layout
        )  # type: ignore[call-overload]
        self._rank = rank
        self._network = network
        self._images = images
        # Ranks drop different units, as they see different images.
        torch.manual_seed(plan.seed * 1_000_003 + rank.place.rank)
        rank.engine.broadcast(self.model.parameters())
        self._optimizer = make_optimizer(self.model, network.recipe, fused=plan.fused)
        self._scaler = make_scaler(rank.device, plan.dtype)
        self.clock = self._start_clock()
        self._parallel = accelerate(self.model, network, plan, rank.engine, rank.device)
        self.loss: float | None = None
        # On this host's clock: of all steps so far, and when this rank was last ready to meet the others.
        self.begins_s: list[float] = []
        self.arrived_s = 0.0

    @property
    def exchanges(self) -> bool:
        """Whether the ranks wait for each other in every step."""
        return self._rank.plan.exchange

    def _start_clock(self) -> Clock:
        parameters = list(self.model.parameters())
        # Each micro-batch adds to every gradient; after the last of all there is nothing left to compute.
        gradients = len(parameters) * self._rank.plan.accumulate
        clock = make_clock(self._rank.device, self._rank.place.rank, gradients, self._rank.beacon)
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(lambda _: self.clock.gradient_ready())
        return clock

    def step(self, step: int, batches: Iterator[Batch], *, warmup: bool) -> None:
        """One step of all ranks: input, forward, backward with its exchange, update."""
        clock = self.clock
        clock.begin(step, warmup=warmup)
        batch = next(batches)
        clock.have_input()
        set_learning_rate(self._optimizer, self._learning_rate(step))
        loss = self._compute(batch)
        self._rank.engine.synchronize()
        clock.exchanged()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        clock.updated(len(batch.labels), loss)
        self._report(clock.finished())

    def _compute(self, batch: Batch) -> torch.Tensor:
        """The mean loss, and every gradient on its way: of micro-batches, the last one sends what all have added up."""
        parts = self._rank.plan.accumulate
        if parts == 1:
            loss = self._forward(batch.images, batch.labels)
            self._rank.engine.backward(self._scaler.scale(loss))
            return loss
        losses = []
        pairs = zip(batch.images.chunk(parts), batch.labels.chunk(parts), strict=True)
        for number, (images, labels) in enumerate(pairs, start=1):
            with self._rank.engine.hold(self._parallel) if number < parts else contextlib.nullcontext():
                loss = self._forward(images, labels) / parts
                self._rank.engine.backward(self._scaler.scale(loss))
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with explained(), autocast(self._rank.device, self._rank.plan.dtype):
            return functional.cross_entropy(self._parallel(images), labels)

    def _learning_rate(self, step: int) -> float:
        """The recipe's rate, its base replaced where the plan names another; it counts from the first step."""
        recipe, plan = self._network.recipe, self._rank.plan
        epoch = step * plan.global_batch / self._images if self._images else 0.0
        rate = recipe.learning_rate(step, epoch)
        return rate if plan.learning_rate is None else rate * plan.learning_rate / recipe.base_lr

    def meet(self) -> float:
        """All ranks have finished what they were given; the time now."""
        if self._rank.device.type == "cuda":
            torch.cuda.synchronize(self._rank.device)
        self._report(self.clock.finished(wait=True))
        self.arrived_s = time.monotonic()
        self._rank.engine.barrier()
        return time.monotonic()

    def _report(self, steps: Iterator[Step]) -> None:
        for step in steps:
            self.loss = step.loss
            self.begins_s.append(step.begin_s)
            self._rank.reporter.say(Stepped(step=step))


def request_data(rank: Rank, network: Network, layout: torch.memory_format) -> data.Request:
    threads = rank.plan.data_threads or data.choose_threads(
        rank.launch.cpus_per_task, computes_on_cpu=rank.device.type == "cpu"
    )
    return data.Request(
        network=network,
        training=rank.plan,
        rank=rank.place.rank,
        world_size=rank.place.world_size,
        device=rank.device,
        threads=threads,
        memory_format=layout,
    )


def _verify(rank: Rank, source: Source) -> None:
    """Decode everything once before training, unless an earlier launch of this run did so with the same files."""
    listing = source.listing_digest()
    if not rank.plan.verify_data or listing is None:
        return
    # Decided together: a file that one node sees already may not have reached another's cache.
    unverified = 0.0 if listing in _verified_before(rank) else 1.0
    if rank.engine.sum([unverified])[0] == 0:
        return
    source.verify(lambda done, _: rank.beacon.show(done, "data"))
    # Only when all ranks have found nothing wrong is the whole data set verified.
    rank.engine.barrier()
    if rank.leads:
        rank.reporter.say(Verified(digest=listing))


def _verified_before(rank: Rank) -> str:
    record = RunFolder(rank.folder.path.parent).verified_path
    return record.read_text(encoding="utf-8") if record.exists() else ""


def _validate(rank: Rank, model: torch.nn.Module, source: Source) -> tuple[float | Missing, int]:
    """The share of held-out images that get their label, over all ranks, and how many there were."""
    if not rank.plan.validate_after:
        return Missing(missing="not asked for"), 0
    batches = source.validation()
    if batches is None:
        return Missing(missing=f"{source.name} data have no held-out part"), 0
    model.eval()
    right = seen = 0
    with torch.inference_mode():
        for batch in batches:
            rank.beacon.show(seen, "validate")
            right += int((model(batch.images).argmax(dim=1) == batch.labels).sum())
            seen += len(batch.labels)
    all_right, all_seen = rank.engine.sum([float(right), float(seen)])
    if not all_seen:
        return Missing(missing="the held-out part is empty"), 0
    return all_right / all_seen, int(all_seen)
