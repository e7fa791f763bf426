"""Models that another machine trains and samples, behind the Tinker API: where they are, what they are, their weights.

The weights of an agent are a LoRA adapter on the server's base model. Until its first update an agent *is* the base
model, and is sampled as such; its training client is made then, or where a checkpoint is loaded. Without torch.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import urlsplit

from ilr_bench.core.errors import ConfigurationError, LostServiceError, MissingInputError, ServiceError, first_line
from ilr_bench.core.extras import install, is_installed
from ilr_bench.core.futures import finished
from ilr_bench.core.seeds import derive_seed
from ilr_bench.core.signals import send_heartbeat

HOSTED = "the hosted service"
KEY, URLS, INSECURE, REDUCTION = (
    "TINKER_API_KEY", "ILR_BENCH_TINKER_URL", "ILR_BENCH_TINKER_INSECURE", "ILR_BENCH_TINKER_REDUCTION"
)  # fmt: skip
"""Environment variables: workers inherit them, and no record names them."""
PATIENCE = 1800.0
"""Seconds without an answer after which a server counts as gone; the SDK repeats requests until then."""
LARGEST_RANK = 32
"""Of adapters, where a server says nothing else."""
UNTRIED_FAMILIES = ("qwen2",)
"""Architectures that nobody has tried through this interface: refused unless the server lists them."""

LIBRARIES = ("tinker", "httpx", "httpcore", "pyqwest")
"""Whose errors are a server's or the network's."""

Reduction = Literal["sum", "sequence_mean"]


@dataclass(frozen=True)
class Address:
    """Where models are served: an address, empty for the hosted service."""

    url: str = ""

    def __str__(self) -> str:
        return self.url or HOSTED

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's own."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def address_of(agent: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address for an agent: `ILR_BENCH_TINKER_URL` holds one for all, or `AGENT=URL` with commas.

    Raises ConfigurationError for an address that is no URL, and for one in clear text that is not this machine's.
    """
    found = ""
    for part in filter(None, environment.get(URLS, "").split(",")):
        name, equals, url = part.partition("=")
        if not equals or "/" in name:
            found = found or part
        elif name == agent:
            found = url
    split = urlsplit(found)
    if found and (split.scheme not in ("http", "https") or not split.hostname):
        raise ConfigurationError(f"--tinker-url {found}: no address; write it as http://127.0.0.1:8000")
    if split.username or split.password:
        raise ConfigurationError(f"--tinker-url: a key does not belong into an address; set {KEY}")
    address = Address(found)
    if split.scheme == "http" and not address.is_local and environment.get(INSECURE) != "1":
        raise ConfigurationError(
            f"--tinker-url {found}: questions, weights and the key would cross the network in clear text; give an "
            "https address, a tunnel to this machine, or allow it by --tinker-insecure"
        )
    return address


def connect(address: Address, environment: Mapping[str, str] = os.environ) -> Any:
    """A `tinker.ServiceClient`.

    Raises MissingInputError without the SDK or a key, LostServiceError where nothing answers at the address.
    """
    if not is_installed("tinker"):
        raise MissingInputError(f"sampling.engine=tinker needs the Tinker SDK, not installed here: {install('tinker')}")
    key = environment.get(KEY, "")
    if not key and not address.is_local:
        raise MissingInputError(f"{address} needs a key; set {KEY} in the environment (it is written nowhere)")
    os.environ.setdefault("TINKER_TELEMETRY", "0")
    if address.url:
        check_reached(address)
    import tinker

    # Servers of one's own ask for a key of this form and look at nothing but that.
    return tinker.ServiceClient(base_url=address.url or None, api_key=key or "tml-none")


def check_reached(address: Address, tries: int = 3, wait: float = 2.0) -> None:
    """Raises LostServiceError where no server answers: the SDK would go on asking for a long time."""
    for left in reversed(range(tries)):
        try:
            with urllib.request.urlopen(f"{address.url.rstrip('/')}/api/v1/healthz", timeout=20.0):
                return
        except urllib.error.HTTPError:
            return  # a server, whatever it thinks of the question
        except (OSError, http.client.HTTPException) as error:
            if not left:
                raise LostServiceError(f"no server answers at {address} ({first_line(error)}); {AGAIN}") from error
            send_heartbeat()
            sleep(wait)


def settled(future: Any, what: str, patience: float = PATIENCE) -> Any:
    """A future's result; `what` names the request in errors.

    Raises LostServiceError where a server or session is gone or silent for `patience` seconds, ServiceError where it
    refuses. Heartbeats go on meanwhile.
    """
    began = monotonic()
    while True:
        try:
            return future.result(timeout=5.0)
        except TimeoutError as error:
            send_heartbeat()
            if monotonic() - began > patience:
                raise LostServiceError(f"{what}: no answer for {patience:.0f} s; {AGAIN}") from error
        except Exception as error:
            raise explained(error, what) from error


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Within it errors of the SDK and of the network, which some of its calls raise at once, are explained."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in LIBRARIES or isinstance(error, OSError):
            raise explained(error, what) from error
        raise


AGAIN = "start the server again where it is yours; the same command goes on from the last checkpoint"


def explained(error: Exception, what: str) -> ServiceError:
    """An error of the SDK in one line, without the key."""
    said = first_line(error)
    key = os.environ.get(KEY, "")
    said = said.replace(key, "***") if key else said
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"AuthenticationError", "PermissionDeniedError"}:
        return ServiceError(f"{what}: the server refuses the key in {KEY} ({said})")
    if "BillingError" in kinds:
        return ServiceError(f"{what}: the service asks for payment ({said})")
    gone = {"APIConnectionError", "APITimeoutError", "NotFoundError", "InternalServerError", "ConflictError"}
    if kinds & gone or isinstance(error, ConnectionError):
        return LostServiceError(f"{what}: the server or what it held is gone ({said}); {AGAIN}")
    return ServiceError(f"{what}: refused ({type(error).__name__}: {said})")


def capabilities(service: Any, what: str) -> dict[str, int | None]:
    """Model -> longest context that a server states, for all that it trains."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # renamed in later SDKs, with the same answer
        with explaining(f"{what}: what it serves"):
            found = service.get_server_capabilities()
    return {one.model_name: one.max_context_length for one in found.supported_models if one.model_name}


@dataclass
class TinkerPolicy:
    """The weights of one agent on a server."""

    agent: str
    base_model: str
    """As the server names it."""
    service: Any
    address: Address
    context: int
    """Most tokens of a prompt with its answer."""
    rank: int
    seed: int
    config: Any = field(init=False)
    """What is asked of a model's configuration elsewhere: its positions."""
    trainer: Any = field(default=None, init=False)
    """The training client; None while the agent is the base model."""
    _sampler: Any = field(default=None, init=False)
    _base: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.config = SimpleNamespace(max_position_embeddings=self.context)

    @property
    def where(self) -> str:
        """Agent and server, for errors."""
        return f"agent {self.agent} at {self.address}"

    def sampler(self) -> Any:
        """A sampling client with the weights as they are."""
        if self.trainer is None:
            return self.base()
        if self._sampler is None:
            self.publish()
        client = settled(self._sampler, f"{self.where}: weights for sampling")
        self._sampler = finished(client)
        return client

    def publish(self) -> None:
        """Begins to hand the trained weights to the sampler, which takes a while; does not wait."""
        with explaining(f"{self.where}: weights for sampling"):
            self._sampler = self.trainer.save_weights_and_get_sampling_client()

    def base(self) -> Any:
        """A sampling client of the base model: the reference policy, and the agent before its first update."""
        if self._base is None:
            what = f"{self.where}: base model {self.base_model}"
            with explaining(what):
                asked = self.service.create_sampling_client(base_model=self.base_model)
            self._base = settled(asked, what)
        return self._base

    def training_client(self) -> Any:
        """The training client, made where there is none: a new adapter, which computes what the base model does.

        Raises ServiceError where the server trains another model than was asked for.
        """
        if self.trainer is None:
            what = f"{self.where}: a training client of rank {self.rank}"
            with explaining(what):
                asked = self.service.create_lora_training_client(
                    base_model=self.base_model,
                    rank=self.rank,
                    seed=derive_seed(self.seed, "lora", self.agent) % 2**31,
                    train_unembed=False,  # as the adapters made here
                )
            self.trainer = settled(asked, what)
            with explaining(what):
                self._check_model()
        return self.trainer

    def save(self, name: str) -> str:
        """Has the server keep weights and optimizer; returns the path by which it knows them."""
        with explaining(f"{self.where}: checkpoint {name}"):
            answer = settled(self.training_client().save_state(name), f"{self.where}: checkpoint {name}")
        return str(answer.path)

    def load(self, path: str) -> None:
        """Weights and optimizer of a path of `save`; raises ServiceError where the server has it no more."""
        self.trainer = self._sampler = None
        # Servers refuse a client made from a state, and take one as the first request of a fresh client.
        with explaining(f"{self.where}: checkpoint {path}"):
            settled(self.training_client().load_state_with_optimizer(path), f"{self.where}: checkpoint {path}")

    def _check_model(self) -> None:
        info = self.trainer.get_info()
        trained = getattr(getattr(info, "model_data", None), "model_name", None)
        if trained is not None and trained != self.base_model:
            raise ServiceError(
                f"{self.where}: the server trains {trained}, not {self.base_model}; give the address of a server for it"
            )


def check_served(
    base_model: str, served: Mapping[str, int | None], architecture: str, address: Address, same: Callable[[str], bool]
) -> str:
    """The name under which a server lists a model; raises ConfigurationError where it lists others only.

    Servers of one's own take any name in silence and train the model that they were started with. `same`: whether a
    listed name is this model under another one, such as a folder's path.
    """
    found = next((name for name in served if name == base_model or same(name)), None)
    if found is not None:
        return found
    untried = (
        f" ({architecture} models were never tried through this interface)" if architecture in UNTRIED_FAMILIES else ""
    )
    shown = ", ".join(list(served)[:5]) + (f" and {len(served) - 5} more" if len(served) > 5 else "")
    raise ConfigurationError(
        f"{address} does not serve {base_model}{untried}, but {shown or 'no model'}; give --tinker-url "
        f"AGENT=URL of a server that does, or choose another model"
    )


def check_rank(rank: int, largest: int = LARGEST_RANK) -> None:
    """Raises ConfigurationError for a rank that servers refuse."""
    if rank > largest:
        raise ConfigurationError(f"update.lora_rank: servers take at most {largest}, not {rank}")


def stop_clients(services: Sequence[Any]) -> None:
    """Ends the sessions, so that a server frees their adapters at once."""
    for service in services:
        try:
            service.close("success").result(timeout=10.0)
        except Exception:  # noqa: BLE001 (the work is done, and idle sessions end by themselves)
            continue
