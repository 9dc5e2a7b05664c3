"""The training loop's small parts: learning rate, running average of weights, checkpoints."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
Optimisers = list[torch.optim.Optimizer]


def adam(model: nn.Module, rate: float) -> Optimisers:
    """AdamW with a mild decay, on the parameters that are not frozen."""
    return [_adam((p for p in model.parameters() if p.requires_grad), rate)]


def _adam(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.01)


def muon(model: nn.Module, rate: float) -> Optimisers:
    """Muon for the matrices of a network with much attention, AdamW for everything else.

    Muon steps in orthogonalised directions: https://kellerjordan.github.io/posts/muon/. It comes down a little faster
    than AdamW alone, at a rate of two to three times of it.
    """
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    steps = torch.optim.Muon(matrices, lr=2.5 * rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [steps, _adam(others, rate)]


def warm_cosine(step: int, total: int, warmup: int = 100) -> float:
    """The learning rate as a share of its peak: a linear start, then half a cosine down to two per cent."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class RunningAverage:
    """An exponential average of a model's weights, which samples better than the last step's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights: Weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module) -> None:
        self.steps += 1
        # Early on a long memory would only remember the random start.
        decay = min(self.decay, self.steps / (self.steps + 9))
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.weights[name].lerp_(value.detach(), 1 - decay)


class Run:
    """One training run of a model: steps the optimiser, reports, and writes checkpoints it can go on from."""

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        rate: float,
        checkpoint: Path,
        optimisers: Callable[[nn.Module, float], Optimisers] = adam,
        decay: float = 0.998,
        report_every: int = 50,
    ) -> None:
        self.model, self.steps = model, steps
        self.optimisers = optimisers(model, rate)
        self.checkpoint, self.report_every = checkpoint, report_every
        for group in self._groups():
            group["peak"] = group["lr"]
        self.average = RunningAverage(model, decay)
        self.done = 0
        self._recent: list[float] = []
        self._resume()

    def __iter__(self) -> Iterator[int]:
        """Step numbers that are still to do; the caller computes a loss and calls `learn` for each."""
        began, first = time.monotonic(), self.done
        while self.done < self.steps:
            yield self.done
            if self.done % self.report_every == 0:
                pace = (time.monotonic() - began) / (self.done - first)
                loss = sum(self._recent) / len(self._recent)
                print(f"step {self.done}/{self.steps} loss {loss:.4f} {pace:.3f} s/step", flush=True)
                self._recent.clear()
            if self.done % (10 * self.report_every) == 0 or self.done == self.steps:
                self._save()
        self.settle()

    def settle(self) -> None:
        """End with the average of the weights, which is what the run is for."""
        self.model.load_state_dict(self.average.weights)
        self.model.eval()

    def learn(self, loss: Tensor) -> None:
        for group in self._groups():
            group["lr"] = group["peak"] * warm_cosine(self.done, self.steps)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.average.update(self.model)
        self._recent.append(loss.item())
        self.done += 1

    def _save(self) -> None:
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".part")
        state = {
            "done": self.done,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "average": self.average.weights,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.done = state["done"]
        self.model.load_state_dict(state["model"])
        self.average.weights = state["average"]
        self.average.steps = self.done
        if self.done < self.steps:
            for optimiser, stepped in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(stepped)

    def _groups(self) -> Iterator[dict[str, Any]]:
        return (group for optimiser in self.optimisers for group in optimiser.param_groups)
