"""Train a model with llama.cpp's own optimizer: datasets, steps, epochs, a schedule of the learning rate.

    with lf.Model.from_metadata(metadata, fill) as model, lf.Trainer(model, n_ctx=256) as trainer:
        trainer.fit(lf.Dataset(rows), epochs=3, learning_rate=lambda step: 2e-4 * 0.99**step)
        model.save_to_file("trained.gguf")

One row of the dataset is one step of the optimizer. The C API has a call for whole epochs; here each row is
a call of its own, so that the rate can change between them and Ctrl-C comes through.

llama.cpp rebuilds its training graph at each step. ggml-opt then adds each step's gradients to accumulators
that it never clears: its own reset reaches them through the graph, which is gone by then. So an eval
callback notes where the accumulators are (each node of the optimizer has one as its second source; they
stay where they are), and they are cleared after each step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex

from ._core import binding, check, logs
from ._core.callbacks import Callback
from ._core.handle import Handle
from ._core.owned import Owned
from .errors import (
    ContextCreateError,
    InvalidArgumentError,
    NativeAbortError,
    TokenRangeError,
    UnsupportedError,
)
from .model import Model
from .training_data import Dataset

Schedule = Callable[[int], float]
"""Returns the learning rate of a step; they are counted from 0 over the trainer's life."""

_TRIED = """
arcee baichuan bitnet deci ernie4_5 exaone exaone4 granite granite_swa hunyuan-dense hunyuan_vl internlm2
llama maincoder minicpm mistral3 nanbeige olmo2 paddleocr pangu-embedded plamo qwen2 qwen2vl qwen3 qwen3tts
qwen3vl
seed_oss smollm3 talkie xverse
"""
TRAINABLE = frozenset(_TRIED.split())
"""Architectures that training was tried on. Of others libllama can't compute the gradients, and asserts or
dies; a mixture of experts of these is refused at the first step."""

_LEAST = 1e-30
"""The least learning rate: of 0 libllama asserts."""

_GRANULE = 256
"""libllama rounds n_ctx up to a multiple of it, and gradients reach K and V only if n_ubatch is the same."""

_NEVER = ("token_embd.weight", "rope_freqs.weight")
"""What libllama leaves out, whatever the filter says."""


class Progress(NamedTuple):
    """What came of some steps."""

    loss: float
    """the mean loss, in nats per token"""
    accuracy: float
    """the share of tokens that were the likeliest, 0 to 1"""
    steps: int
    """how many rows"""


class Trainer(Owned):
    """Changes a model's weights in place so that they predict a dataset better.

    C: llama_opt_init, struct llama_opt_params, llama_opt_epoch

    Only weights of type f32 in ordinary memory can be trained: those of :meth:`Model.from_metadata
    <llama_ffi.Model.from_metadata>`, or of a file loaded with ``load_mode="none", use_extra_bufts=False,
    n_gpu_layers=0``. The token embeddings are never trained. ``model.n_ctx_train`` becomes ``n_ctx``.

    Arguments:
        model: the model; kept alive.
        n_ctx: tokens per row, a multiple of 256.
        optimizer: "adamw" or "sgd".
        beta1, beta2, epsilon: AdamW's: how slowly the mean gradient and its square change, 0 to below 1, and
            what is added to the root of the latter, above 0.
        weight_decay: how much of a weight each step takes away, 0 to 1, times the learning rate.
        trained: tells by its name whether a tensor is trained; None = all that can be.
        n_threads: 1 to 512.

    Raises:
        UnsupportedError: weights that can't be trained, or an architecture that llama.cpp can't train.
        InvalidArgumentError, ArgumentTypeError: an argument out of its range.
        ContextCreateError: too little memory.
        ClosedError: the model is closed.

    Threads: one call at a time; a second thread gets BusyError. Let nobody else use the model meanwhile.
    """

    __slots__ = (
        "_data",
        "_ffi",
        "_gradients",
        "_lib",
        "_model",
        "_rates",
        "_result",
        "n_ctx",
        "step",
        "trained",
    )

    n_ctx: int
    """tokens per row"""
    step: int
    """how many steps were made"""
    trained: tuple[str, ...]
    """the names of the tensors that are trained"""

    def __init__(
        self,
        model: Model,
        n_ctx: SupportsIndex = 256,
        *,
        optimizer: str = "adamw",
        beta1: SupportsFloat = 0.9,
        beta2: SupportsFloat = 0.98,
        epsilon: SupportsFloat = 1e-8,
        weight_decay: SupportsFloat = 0.0,
        trained: Callable[[str], object] | None = None,
        n_threads: SupportsIndex = 1,
    ) -> None:
        check.instance("model", model, Model)
        self.n_ctx = check.integer("n_ctx", n_ctx, _GRANULE, 2**20)
        if self.n_ctx % _GRANULE:
            raise InvalidArgumentError(f"n_ctx is {self.n_ctx}; it must be a multiple of {_GRANULE}")
        check.function("trained", trained)
        threads = check.integer("n_threads", n_threads, 1, 512)
        if model.vocab_only:
            raise UnsupportedError("only the vocabulary of this model is loaded; there is nothing to train")
        if model.arch not in TRAINABLE:
            raise UnsupportedError(
                f"models of architecture {model.arch!r} can't be trained: llama.cpp lacks gradients that "
                f"they need; these can: {', '.join(sorted(TRAINABLE))}"
            )
        active = binding.active()
        self._ffi, self._lib, self._model = active.ffi, active.lib, model
        ffi, lib = active.ffi, active.lib
        kinds = {"adamw": lib.GGML_OPT_OPTIMIZER_TYPE_ADAMW, "sgd": lib.GGML_OPT_OPTIMIZER_TYPE_SGD}
        kind = check.choice("optimizer", optimizer, kinds)
        self._rates = ffi.new("struct ggml_opt_optimizer_params *")
        self._rates.adamw.beta1 = check.real("beta1", beta1, 0.0, 0.999999)
        self._rates.adamw.beta2 = check.real("beta2", beta2, 0.0, 0.999999)
        self._rates.adamw.eps = check.real("epsilon", epsilon, 1e-30, 1e30)
        decay = check.real("weight_decay", weight_decay, 0.0, 1.0)
        self._rates.adamw.wd = self._rates.sgd.wd = decay
        self.step = 0
        self._gradients: dict[Any, Any] = {}
        note = Callback(ffi, "ggml_backend_sched_eval_callback", self._note(), False)
        names: list[str] = []
        choose = Callback(ffi, "llama_opt_param_filter", self._filter(trained, names), False)
        self._open(threads, [note, choose, self._rates])
        with self._handle as context:
            params = ffi.new(
                "struct llama_opt_params *",
                {
                    "n_ctx_train": self.n_ctx,
                    "param_filter": choose.pointer,
                    "get_opt_pars": active.raw.ggml_opt_get_constant_optimizer_params,
                    "get_opt_pars_ud": self._rates,
                    "optimizer_type": kind,
                },
            )
            lib.llama_opt_init(context, model.ptr, params[0])
            # the optimizer takes over the threads and the eval callback of the last decode
            tokens = ffi.new("llama_token[]", [0] * self.n_ctx)
            if lib.llama_decode(context, lib.llama_batch_get_one(tokens, self.n_ctx)) != 0:
                raise ContextCreateError("llama.cpp could not decode a full context")
        self.trained = tuple(dict.fromkeys(names))
        if choose.failed or not names:
            self.close()
            choose.reraise()
            raise UnsupportedError(
                "nothing to train: no tensor is of type f32"
                + ("" if trained is None else ", or `trained` refused all that are")
            )

    def _open(self, threads: int, keep: list[Any]) -> None:
        ffi, lib = self._ffi, self._lib
        params = ffi.new("struct llama_context_params *", lib.llama_context_default_params())
        # only with one ubatch as long as the context do gradients reach the K and V projections
        params.n_ctx = params.n_batch = params.n_ubatch = self.n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = lib.GGML_TYPE_F32
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cb_eval = keep[0].pointer
        with logs.capture() as lines:
            pointer = lib.llama_init_from_model(self._model.ptr, params[0])
        if pointer == ffi.NULL:
            raise ContextCreateError(f"llama.cpp made no context: {'; '.join(lines[-2:])}", log=lines)
        kept = [self._model.ptr, *keep]
        self._handle = Handle(ffi, pointer, lib.llama_free, "trainer", keep=kept, exclusive=True)
        result, i32 = lib.ggml_opt_result_init(), lib.GGML_TYPE_I32
        self._result = Handle(ffi, result, lib.ggml_opt_result_free, "result")
        data = lib.ggml_opt_dataset_init(i32, i32, self.n_ctx, self.n_ctx, 1, 1)
        self._data = Handle(ffi, data, lib.ggml_opt_dataset_free, "dataset")

    def _note(self) -> Callable[..., bool]:
        ffi, lib, found = self._ffi, self._lib, self._gradients
        steps = (lib.GGML_OP_OPT_STEP_ADAMW, lib.GGML_OP_OPT_STEP_SGD)

        def note(tensor: Any, _ask: bool, _user_data: Any) -> bool:
            if tensor.op in steps:
                gradient = tensor.src[1]
                found[gradient.data] = ffi.buffer(gradient.data, lib.ggml_nbytes(gradient))
            return False

        return note

    def _filter(self, wanted: Callable[[str], object] | None, names: list[str]) -> Callable[..., bool]:
        ffi, lib = self._ffi, self._lib
        flag = int(lib.GGML_TENSOR_FLAG_PARAM)

        def choose(tensor: Any, _user_data: Any) -> bool:
            name = ffi.string(lib.ggml_get_name(tensor)).decode("utf-8", "replace")
            tensor.flags &= ~flag  # an earlier trainer may have set it
            if name in _NEVER or (wanted is not None and not wanted(name)):
                return False
            where = ffi.string(lib.ggml_backend_buffer_name(tensor.buffer)).decode()
            if not lib.ggml_backend_buffer_is_host(tensor.buffer) or "Mapped" in where:
                raise UnsupportedError(
                    f"tensor {name!r} lies in {where}, where it can't be changed; load the model with "
                    f"load_mode='none', use_extra_bufts=False, n_gpu_layers=0"
                )
            names.append(name)
            return True

        return choose

    # --- training ---

    def train(self, dataset: Dataset, learning_rate: float | Schedule) -> Progress:
        """Make one step for each row, in their order.

        C: llama_opt_epoch, ggml_opt_result_loss, ggml_opt_result_accuracy

        Arguments:
            dataset: rows of ``n_ctx`` tokens.
            learning_rate: above 0, or a function of the step's number that returns it.

        Returns:
            the means over the steps, each measured before it was made.

        Raises:
            InvalidArgumentError, TokenRangeError: rows of another length, tokens out of the vocabulary.
            UnsupportedError: llama.cpp can't compute this architecture's gradients.

        Threads: one call at a time. After an error or Ctrl-C the steps that were made stay made.
        """
        return self._run(dataset, learning_rate)

    def measure(self, dataset: Dataset) -> Progress:
        """Return loss and accuracy without changing the weights.

        C: llama_opt_epoch

        Arguments:
            dataset: rows of ``n_ctx`` tokens.

        Raises:
            InvalidArgumentError, TokenRangeError: as for :meth:`train`.
        """
        return self._run(dataset, None)

    def fit(
        self,
        dataset: Dataset,
        *,
        epochs: SupportsIndex = 1,
        learning_rate: float | Schedule = 2e-4,
        validation: Dataset | None = None,
        shuffle: SupportsIndex | None = 0,
        on_epoch: Callable[[int, Progress, Progress | None], object] | None = None,
    ) -> list[Progress]:
        """Train on all rows several times.

        C: llama_opt_epoch

        Arguments:
            dataset: what to train on.
            epochs: how often, 1 or more.
            learning_rate: above 0, or a function of the step's number.
            validation: rows to measure after each epoch.
            shuffle: a seed: the rows come in another order in each epoch; None = as they stand.
            on_epoch: called after each epoch with its number from 0, what came of it, and what was measured.

        Returns:
            what came of each epoch, a new list.

        Raises:
            InvalidArgumentError, TokenRangeError, UnsupportedError: as for :meth:`train`.
        """
        count = check.integer("epochs", epochs, 1)
        check.instance("dataset", dataset, Dataset)
        if validation is not None:
            check.instance("validation", validation, Dataset)
        check.function("on_epoch", on_epoch)
        order = list(range(len(dataset)))
        dice = None if shuffle is None else random.Random(check.seed(shuffle))
        done = []
        for epoch in range(count):
            if dice is not None:
                dice.shuffle(order)
            progress = self._run(dataset, learning_rate, order)
            done.append(progress)
            measured = None if validation is None else self.measure(validation)
            if on_epoch is not None:
                on_epoch(epoch, progress, measured)
        return done

    def _run(
        self, dataset: Dataset, rate: float | Schedule | None, order: Sequence[int] | None = None
    ) -> Progress:
        check.instance("dataset", dataset, Dataset)
        self._check(dataset)
        rows = list(dataset)
        losses, hits = [], []
        for index in range(len(rows)) if order is None else order:
            if rate is not None:
                value = check.real("learning_rate", rate(self.step) if callable(rate) else rate, _LEAST, 10.0)
                self._rates.adamw.alpha = self._rates.sgd.alpha = value
            loss, accuracy = self._one(*rows[index], train=rate is not None)
            losses.append(loss)
            hits.append(accuracy)
        return Progress(sum(losses) / len(losses), sum(hits) / len(hits), len(losses))

    def _one(self, tokens: memoryview, labels: memoryview, *, train: bool) -> tuple[float, float]:
        ffi, lib = self._ffi, self._lib
        data, result, size = self._data.ptr, self._result.ptr, 4 * self.n_ctx
        with self._handle as context:
            ffi.memmove(lib.ggml_get_data(lib.ggml_opt_dataset_data(data)), ffi.from_buffer(tokens), size)
            ffi.memmove(lib.ggml_get_data(lib.ggml_opt_dataset_labels(data)), ffi.from_buffer(labels), size)
            lib.ggml_opt_result_reset(result)
            both = (result, ffi.NULL) if train else (ffi.NULL, result)
            try:
                lib.llama_opt_epoch(context, data, *both, int(train), ffi.NULL, ffi.NULL)
            except NativeAbortError as error:
                self._handle.poison(str(error))
                said = str(error).partition(". This is a case")[0].strip()
                raise UnsupportedError(
                    f"llama.cpp can't train models of architecture {self._model.arch!r}: {said}"
                ) from error
            for memory in self._gradients.values():
                memory[:] = bytes(len(memory))
            values = ffi.new("double[2]")
            lib.ggml_opt_result_loss(result, values, ffi.NULL)
            lib.ggml_opt_result_accuracy(result, values + 1, ffi.NULL)
        self.step += train
        return float(values[0]), float(values[1])

    def _check(self, dataset: Dataset) -> None:
        if dataset.n_ctx != self.n_ctx:
            raise InvalidArgumentError(
                f"the dataset's rows have {dataset.n_ctx} tokens to train on, not the trainer's {self.n_ctx}"
            )
        n_vocab = self._model.vocab.n_tokens
        for row in dataset:
            for part in row:
                if min(part) < 0 or max(part) >= n_vocab:
                    raise TokenRangeError(
                        f"a row holds a token outside of the vocabulary, 0 to {n_vocab - 1}"
                    )
