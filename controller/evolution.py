"""CMA-ES by ask and tell, whose whole state is its seed and the fitness values that it was told."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from frmdn.agent.seeds import derive

from .subspace import Subspace

MEAN_TOLERANCE = 1e-9  # a replay on the same build is exact to the bit; anything above this is another search


@dataclass(frozen=True)
class SearchConfig:
    """How the controller is searched for: CMA-ES, and what one fitness value is made of.

    >>> frmdn.SearchConfig(population=64, generations=100, max_steps=500).episodes
    2
    """

    population: int = 32  # P, candidates of a generation
    episodes: int = 2  # S, episodes of each candidate; all candidates of a generation get the same seeds
    generations: int = 40
    sigma: float = 0.1  # initial standard deviation of every number searched; the search starts from zero
    subspace: int | None = None  # K: the controller sees only so many principal components; None: all of its features
    diagonal: bool = False  # True adapts one variance per parameter (sep-CMA-ES) in place of the full covariance
    slots: int = 16  # environments that one worker advances together
    stall_steps: int | None = None  # a candidate's episode ends after so many steps without a positive reward
    max_steps: int | None = None  # episode length during the search; None is the environment's own
    first_steps: int | None = None  # length of the first generation's episodes, from which it grows; None: full at once
    growing: int = 20  # generations until it is full: short episodes teach the basics for a fraction of the steps
    validate_every: int = 5  # generations between two validations of the mean; 0 switches validation off
    validate_episodes: int = 16  # episodes of one validation, on fixed seeds that no candidate is selected on
    stop_at: float | None = None  # the search ends when a validation reaches this return
    seconds: float | None = None  # the search starts no generation after so many seconds of this call
    average: float = 0.0  # the agent is the average of CMA's means of this share of the generations; 0: the last mean

    def __post_init__(self) -> None:
        least = {"population": 4, "episodes": 1, "generations": 1, "slots": 1, "growing": 1}
        least |= {"validate_every": 0, "validate_episodes": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        for name in ("sigma", "stall_steps", "max_steps", "first_steps", "subspace", "seconds"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and np.isfinite(value)):
                raise ValueError(f"{name} must be positive and finite, not {value}")
        if not 0 <= self.average <= 1:
            raise ValueError(f"average must be a share of the generations from 0 to 1, not {self.average}")

    def steps_at(self, generation: int, limit: int) -> int:
        """Length of an episode after so many complete generations: linear growth from `first_steps` to `limit`.

        >>> search = frmdn.SearchConfig(first_steps=300, growing=20)
        >>> [search.steps_at(generation, 1000) for generation in (0, 10, 20, 30)]
        [300, 650, 1000, 1000]
        """
        first, last = self.first_steps, min(self.max_steps or limit, limit)
        if first is None or first >= last:
            return last
        return round(first + min(1.0, generation / self.growing) * (last - first))


class Best(NamedTuple):
    """What had the highest value of all generations; as the highest of many, the value is an optimistic one."""

    theta: np.ndarray  # f64[N]
    value: float
    generation: int  # 1 for the first


class Evolution:
    """CMA-ES (Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772) on pycma; maximises.

    The draws come from a generator of its own, so that no global random state is read or written. pycma uses only the
    ranks of the fitness values; hence seed and fitness history determine everything, and a saved search is replayed
    instead of unpickled. pycma's own stopping rules stay unused: `SearchConfig.generations` decides.
    """

    def __init__(
        self,
        size: int,
        config: SearchConfig,
        seed: int,
        start: np.ndarray | None = None,
        space: Subspace | None = None,
    ) -> None:
        """`start` f[N] is where the search begins, e.g. a controller of an earlier one; None begins at zero.

        In a `space` the search is for theta = start + u E: u is what CMA-ES sees, theta what everybody else does.
        """
        if size < 2:
            raise ValueError(f"size must be at least 2, not {size}: CMA-ES does not search in one dimension")
        if start is not None and start.shape != (size,):
            raise ValueError(f"start has shape {start.shape}, but the search is over {size} numbers")
        self.size, self.config, self.seed, self.warm = size, config, seed, start is not None
        self.fitness: list[np.ndarray] = []  # f64[P] of every generation told
        self.validations: list[float] = []  # of every generation told; NaN where the mean was not validated
        self.best: Best | None = None  # of all candidates
        self.champion: Best | None = None  # of all means that were validated; its generation is how many were complete
        self._space, self._start = space, np.zeros(size) if start is None else start.astype(np.float64)
        self._means: list[np.ndarray] = []  # f32[N] after every generation, where they are to be averaged
        self._asked: list[np.ndarray] | None = None
        self._strategy = _strategy(self._start if space is None else np.zeros(space.size), config, seed)

    @property
    def generation(self) -> int:
        """How many generations are complete."""
        return len(self.fitness)

    @property
    def mean(self) -> np.ndarray:
        """f64[N], the centre of the search distribution."""
        return self._theta(np.array(self._strategy.mean, dtype=np.float64))

    @property
    def agent(self) -> np.ndarray:
        """f64[N], the parameters to act with: the mean, or the average of the means of the last generations.

        Where returns are noisy the mean never comes to rest: it wanders about the place that it has found, and the
        average of its path is nearer to that (Polyak and Juditsky 1992). `SearchConfig.average` says how much of it.
        """
        count = round(self.config.average * len(self._means))
        return np.array(self._means[-count:], dtype=np.float64).mean(axis=0) if count > 1 else self.mean

    @property
    def sigma(self) -> float:
        return float(self._strategy.sigma)

    def ask(self) -> np.ndarray:
        """The candidates f64[P,N] of this generation; the same ones until `tell`."""
        if self._asked is None:
            self._asked = self._strategy.ask()
        return self._theta(np.array(self._asked))

    def _theta(self, searched: np.ndarray) -> np.ndarray:
        return searched if self._space is None else self._start + self._space.expand(searched)

    def tell(self, returns: np.ndarray, validation: float = np.nan) -> None:
        """Take the fitness f64[P] of the candidates asked for, higher is better; `validation` is kept as it comes.

        Raises ValueError where a fitness is not finite: a crashed candidate must neither win nor pass for a bad one.
        """
        returns = np.array(returns, dtype=np.float64)
        self._check(returns)
        candidates = self.ask()
        winner = int(np.argmax(returns))
        if self.best is None or returns[winner] > self.best.value:
            self.best = Best(candidates[winner], float(returns[winner]), self.generation + 1)
        if np.isfinite(validation) and (self.champion is None or validation > self.champion.value):
            self.champion = Best(self.mean, float(validation), self.generation)
        # Ranks in place of values: a stable sort breaks ties by the order of the draws, which are exchangeable.
        ranks = np.empty(len(returns))
        ranks[np.argsort(-returns, kind="stable")] = np.arange(len(returns))
        self._strategy.tell(self._asked, ranks.tolist())
        self.fitness.append(returns)
        self.validations.append(float(validation))
        if self.config.average:
            self._means.append(self.mean.astype(np.float32))
        self._asked = None

    def state(self) -> dict[str, np.ndarray]:
        """Everything that `resume` needs, and the results, as arrays that safetensors can hold.

        fitness f64[G,P], validation f64[G], mean f64[N], sigma f64[1], key i64[5] (size, population, seed, diagonal,
        numbers searched), start f64[1] (the initial sigma), version u8[*] (pycma's, in ASCII); after the first
        generation also best_theta f64[N], best_value f64[1], best_generation i64[1].
        """
        state = {
            "fitness": np.array(self.fitness, dtype=np.float64).reshape(-1, self.config.population),
            "validation": np.array(self.validations, dtype=np.float64),
            "mean": self.mean,
            "sigma": np.array([self.sigma]),
            "version": np.frombuffer(_version().encode("ascii"), dtype=np.uint8).copy(),
            **self._identity(),
        }
        if self.best is not None:
            state["best_theta"] = self.best.theta
            state["best_value"] = np.array([self.best.value])
            state["best_generation"] = np.array([self.best.generation])
        return state

    @classmethod
    def resume(
        cls,
        size: int,
        config: SearchConfig,
        seed: int,
        state: dict[str, np.ndarray],
        start: np.ndarray | None = None,
        space: Subspace | None = None,
        watch: Callable[[Evolution], None] | None = None,
    ) -> Evolution:
        """The search as it was when `state` was taken: its history replayed from the same `start` in the same `space`.

        `watch` is shown the search before every generation is told, and at the end; asking it changes nothing.
        Raises ValueError where the state belongs to another search, or where the replay does not reach its mean.
        """
        evolution = cls(size, config, seed, start, space)
        evolution._match(state)
        for returns, validation in zip(state["fitness"], state["validation"], strict=True):
            if watch is not None:
                watch(evolution)
            evolution.tell(returns, validation)
        if watch is not None:
            watch(evolution)
        if not np.allclose(evolution.mean, state["mean"], rtol=MEAN_TOLERANCE, atol=MEAN_TOLERANCE * config.sigma):
            saved = bytes(state["version"].tolist()).decode("ascii")
            raise ValueError(
                f"the saved search cannot be continued: its replay ends elsewhere (saved with pycma {saved}, this is"
                f" pycma {_version()}). Continue on the machine and with the packages it was started with, or delete"
                " the saved search to start it again"
            )
        return evolution

    def _identity(self) -> dict[str, np.ndarray]:
        config, searched = self.config, self.size if self._space is None else self._space.size
        return {
            "key": np.array([self.size, config.population, self.seed, config.diagonal, searched], dtype=np.int64),
            "start": np.array([config.sigma], dtype=np.float64),
        }

    def _match(self, state: dict[str, np.ndarray]) -> None:
        names = (*self._identity(), "fitness", "validation", "mean", "version")
        missing = [name for name in names if name not in state]
        if missing:
            raise ValueError(f"not a saved search: {', '.join(missing)} missing. Delete the file to start again")
        for name, mine in self._identity().items():
            if not np.array_equal(mine, state[name]):
                raise ValueError(
                    f"the saved search is another one: its {name} is {np.asarray(state[name]).tolist()}, this one's"
                    f" {mine.tolist()} (size, population, seed, diagonal, numbers searched; start is the initial"
                    " sigma). Restore the settings, or delete the saved search to start again"
                )

    def _check(self, returns: np.ndarray) -> None:
        if returns.shape != (self.config.population,):
            raise ValueError(f"fitness has shape {returns.shape}, but the population asks for {self.config.population}")
        wrong = np.flatnonzero(~np.isfinite(returns))
        if len(wrong):
            raise ValueError(
                f"candidate {wrong[0]} of generation {self.generation + 1} has fitness {returns[wrong[0]]}"
                f" ({len(wrong)} of {len(returns)} are not finite): look for NaN in the environment's rewards or in the"
                " vision and memory weights, and run the search again; it continues from its last complete generation"
            )


def _version() -> str:
    return importlib.metadata.version("cma")


def _strategy(start: np.ndarray, config: SearchConfig, seed: int) -> Any:
    import cma  # here, because it imports matplotlib.pyplot and takes seconds on a cold disk

    rng = np.random.default_rng(derive(seed, "cma"))

    def draws(rows: int, columns: int) -> np.ndarray:
        """Standard normal draws f64[P,N], rotated by the eigenvectors B that pycma samples with: B D (B^T z).

        Rotated draws are as normal as before, and the candidate C^(1/2) z no longer depends on which eigenvectors the
        machine's LAPACK picks in the wide eigenspaces of a young covariance: a replay elsewhere stays within rounding.
        """
        normal = rng.standard_normal((rows, columns))
        return normal if config.diagonal else normal @ strategy.sm.B

    options = {
        "popsize": config.population,
        "randn": draws,
        "seed": np.nan,  # "do nothing", in pycma's words: NumPy's global generator stays alone
        "CMA_diagonal": config.diagonal,
        # The tutorial's step size control. From some hundred dimensions on, pycma would compare two extra candidates on
        # the line of the last step instead (TPA): too little to go by on noisy returns, and it draws globally.
        "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA,
        "CMA_mirrors": False,  # on by default below six candidates: they would not be independent draws
        "verbose": -10,  # neither prints nor looks for a signals file
        "verb_log": 0,
        "verb_disp": 0,
    }
    strategy = cma.CMAEvolutionStrategy(start, config.sigma, options)
    return strategy
