"""TSHSR's fast form: the same scores with three products of all nodes a level instead of five.

What differs from the plain form (`models/tshsr.py`), none of it by more than rounding:
- Pictures with equally many regions and captions with equally many words are scored in one block: both streams have
  nodes without padding, see `similarity_nodes.py`.
- Edges are one product instead of two, as SGR's (`fast/sgraf.py`).
- The attention logit of a node and a context, (W_a n + b_a)·c, equals n·(W_aᵀ c) + b_a·c: it is computed on the few
  contexts, in one product with their summands of the gate and their values. A node's weights of the contexts sum to 1,
  so that the gate's bias is added to the contexts' summands.
- A level's nodes are processed for as many pairs at a time as stay in a core's cache.
- In bfloat16 the nodes and their weights are held in it; attention weights of the streams, norms, and the values read
  of each level (its global node, its mean context, the score) are float32, and so is everything after the last level's
  contexts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.similarity_hierarchy import ContextLevel
from crossgraph.models.fast.form import DTYPES, GRAM, Code, CodeSide, FastForm, Precision, by_length, real_items
from crossgraph.models.fast.sgraf import FastStep
from crossgraph.models.fast.similarity_nodes import FastLinear, FastNodes, NodeSide, rows_in_cache, with_gram_matrices

if TYPE_CHECKING:
    from crossgraph.models.tshsr import TSHSR, Stream


class _Level:
    """A level of reasoning.

    Args:
        level: The plain level.
        dtype: Type of the weights.
        late: Type of the weights after the contexts.
    """

    def __init__(self, level: ContextLevel, dtype: torch.dtype, late: torch.dtype) -> None:
        self._adds = level.interaction == "add"
        self._step = FastStep(level.interact, dtype)
        self._queries = FastLinear(level.queries, None, dtype)
        ask, gate, value = level.ask, level.gate_context, level.value
        # of a context: the vector that its logits multiply, its summand of the gate (with the bias), and its value
        weight = torch.cat([ask.weight.T, gate.weight, value.weight])
        bias = torch.cat([torch.zeros_like(value.bias), level.gate_node.bias, value.bias])
        self._of_context = FastLinear(weight, bias, late)
        self._offset = ask.bias.detach().to(late, copy=True)
        self._gate = FastLinear(level.gate_node.weight, None, late)

    def interact_locally(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair node sim"]:
        """Return the nodes after messages from all nodes; may write into them."""
        messages = self._step.all_nodes(nodes)
        return nodes.add_(messages) if self._adds else messages

    def contexts(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair context sim"]:
        """Return the context nodes: softmax over the nodes, along columns as in `FastStep`."""
        return torch.bmm(self._queries(nodes).softmax(dim=1).transpose(1, 2), nodes)

    def co_exploit(
        self, nodes: Float[Tensor, "pair target sim"], contexts: Float[Tensor, "pair context sim"]
    ) -> Float[Tensor, "pair target sim"]:
        """Add the contexts' gated messages to nodes, in place."""
        contexts = contexts.to(nodes.dtype)
        keys, gates, values = self._of_context(contexts).chunk(3, dim=-1)
        offset = (contexts * self._offset).sum(dim=-1, keepdim=True)
        weights = torch.bmm(keys, nodes.transpose(1, 2)).add_(offset).softmax(dim=1).transpose(1, 2)
        return nodes.addcmul_(self._gate(nodes).baddbmm_(weights, gates).sigmoid_(), torch.bmm(weights, values))


class _Reasoning:
    """A stream's levels and read-out of scores.

    Args:
        stream: The plain stream.
        dtype: Type of the weights that nodes are multiplied with.
    """

    def __init__(self, stream: Stream, dtype: torch.dtype) -> None:
        reasoning = stream.reasoning
        last = len(reasoning.stages) - 1
        self._levels = [
            _Level(level, dtype, torch.float32 if i == last else dtype) for i, level in enumerate(reasoning.stages)
        ]
        self._combine = FastLinear.of(reasoning.combine, torch.float32)
        self._to_score = FastLinear.of(stream.to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return the scores, computed for as many pairs at a time as stay in a core's cache; writes into the nodes."""
        return torch.cat([self._scores(piece) for piece in nodes.split(rows_in_cache(nodes))])

    def _scores(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        summaries: list[Tensor] = []
        for level in self._levels:
            nodes = level.interact_locally(nodes)
            contexts = level.contexts(nodes)
            last = level is self._levels[-1]
            nodes = level.co_exploit(nodes[:, :1].to(torch.float32, copy=True) if last else nodes, contexts)
            summaries += [nodes[:, 0].to(torch.float32, copy=True), contexts.float().mean(dim=1)]
        return torch.sigmoid(self._to_score(self._combine(torch.cat(summaries, dim=-1)))[:, 0])


class FastTSHSR(FastForm):
    """A `Scorer` equal to `TSHSR.score` in evaluation mode; copies the current weights.

    Args:
        model: The plain form.
        precision: Of vectors and weights.
    """

    def __init__(self, model: TSHSR, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        dtype, streams = DTYPES[precision], model.named_streams
        self._nodes = {
            name: FastNodes(stream.local_similarity, stream.global_similarity, stream.smooth, precision)
            for name, stream in streams.items()
        }
        self._reasonings = {name: _Reasoning(stream, dtype) for name, stream in streams.items()}
        self._shares = dict.fromkeys(streams, 1 / len(streams))
        if model.config.fusion == "learned":
            share = float(torch.sigmoid(model.fusion.detach()))
            self._shares = {"t2i": share, "i2t": 1 - share}

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code in the form's precision, with Gram matrices if a stream attends to it."""
        return with_gram_matrices(code, self.precision, ("t2i" if side == "image" else "i2t") in self._nodes)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        captions = list(_without_padding(texts))
        for rows, pictures in _without_padding(images):
            for columns, sentences in captions:
                into[rows[:, None], columns] = self._score_block(pictures, sentences)

    def _score_block(self, images: NodeSide, texts: NodeSide) -> Float[Tensor, "img txt"]:
        """Score rows whose items are equally many and all real."""
        a, b = len(images.local), len(texts.local)
        score = torch.zeros(a, b, device=images.local.device)
        for name, share in self._shares.items():
            contexts, queries = (images, texts) if name == "t2i" else (texts, images)
            stream = self._reasonings[name](self._nodes[name](contexts, queries))
            score.add_(stream.view(a, b) if name == "t2i" else stream.view(b, a).T, alpha=share)
        return score


def _without_padding(code: ImageCode | TextCode) -> Iterator[tuple[Int[Tensor, " equal"], NodeSide]]:
    """Yield the rows of a prepared code that have equally many real items, without their padding."""
    overall, gram = code.parts["global"], code.parts[GRAM]
    for rows, length in by_length(code.mask):
        if isinstance(rows, slice):
            yield torch.arange(len(code.mask), device=code.mask.device), NodeSide(code.local, None, overall, gram)
            continue
        local, products = real_items(code.local, code.mask, rows, length), None
        if gram.ndim == 3:
            products = real_items(gram, code.mask, rows, length).transpose(1, 2)
            products = products[code.mask[rows]].view(len(rows), length, length)
        yield rows, NodeSide(local, None, overall[rows], products)
