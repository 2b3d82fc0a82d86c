"""TSHSR for inference: the same scores with three products of all nodes a level instead of five.

What differs from the plain form (`tshsr.py`), none of it by more than rounding:
- Pictures with equally many regions and captions with equally many words stand in one block: both streams have nodes
  without padding, see `folded_nodes.py`.
- Edges are one product instead of two, as SGR's (`sgraf_folded.py`).
- What a node asks of a context, (W_a n + b_a)·c, equals n·(W_aᵀ c) + b_a·c: computed on the few contexts, in one
  product with their shares of the gate and their values. A node's shares of the contexts sum to 1, so that the gate's
  bias goes with them.
- A level's nodes are read as many pairs at a time as stay in a core's cache.
- In bfloat16 the nodes and their weights are held in it; what the streams look at, norms, and what is read of each
  level (its global node, its mean context, the score) are float32, and so is what follows the last level's contexts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.similarity_hierarchy import ContextLevel
from crossgraph.models.folded import DTYPES, FoldedForm, Precision, by_length, real_items
from crossgraph.models.folded_nodes import GRAM, FoldedLinear, FoldedNodes, Side, fitting, prepare
from crossgraph.models.sgraf_folded import FoldedStep

if TYPE_CHECKING:
    from crossgraph.models.tshsr import TSHSR, Stream


class _Level:
    """A level of reasoning.

    Args:
        level: The plain one.
        dtype: To hold the weights in.
        late: To hold those in that come behind the contexts.
    """

    def __init__(self, level: ContextLevel, dtype: torch.dtype, late: torch.dtype) -> None:
        self._adds = level.interaction == "add"
        self._step = FoldedStep(level.interact, dtype)
        self._queries = FoldedLinear(level.queries, None, dtype)
        ask, gate, value = level.ask, level.gate_context, level.value
        # what a context gives: what asks it, its share of the gate (whose bias is shared out), and its value
        weight = torch.cat([ask.weight.T, gate.weight, value.weight])
        bias = torch.cat([torch.zeros_like(value.bias), level.gate_node.bias, value.bias])
        self._of_context = FoldedLinear(weight, bias, late)
        self._offset = ask.bias.detach().to(late, copy=True)
        self._gate = FoldedLinear(level.gate_node.weight, None, late)

    def take(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair node sim"]:
        """Let every node take from all nodes; may write into them."""
        taken = self._step.all_nodes(nodes)
        return nodes.add_(taken) if self._adds else taken

    def contexts(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair context sim"]:
        """Return the context nodes."""
        return torch.bmm(self._queries(nodes).softmax(dim=1).transpose(1, 2), nodes)

    def co_exploit(
        self, nodes: Float[Tensor, "pair some sim"], contexts: Float[Tensor, "pair context sim"]
    ) -> Float[Tensor, "pair some sim"]:
        """Let nodes take from the contexts, in place."""
        contexts = contexts.to(nodes.dtype)
        asked, share, value = self._of_context(contexts).chunk(3, dim=-1)
        offset = (contexts * self._offset).sum(dim=-1, keepdim=True)
        seen = torch.bmm(asked, nodes.transpose(1, 2)).add_(offset).softmax(dim=1).transpose(1, 2)
        return nodes.addcmul_(self._gate(nodes).baddbmm_(seen, share).sigmoid_(), torch.bmm(seen, value))


class _Reasoning:
    """A stream's reading of its nodes.

    Args:
        stream: The plain one.
        dtype: To hold the weights of nodes in.
    """

    def __init__(self, stream: Stream, dtype: torch.dtype) -> None:
        reasoning = stream.reasoning
        last = len(reasoning.stages) - 1
        self._levels = [
            _Level(level, dtype, torch.float32 if i == last else dtype) for i, level in enumerate(reasoning.stages)
        ]
        self._combine = FoldedLinear.of(reasoning.combine, torch.float32)
        self._to_score = FoldedLinear.of(stream.to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Reason and read, as many pairs at a time as stay in a core's cache; writes into the nodes."""
        return torch.cat([self._read(piece) for piece in nodes.split(fitting(nodes))])

    def _read(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        found: list[Tensor] = []
        for level in self._levels:
            nodes = level.take(nodes)
            contexts = level.contexts(nodes)
            last = level is self._levels[-1]
            nodes = level.co_exploit(nodes[:, :1].to(torch.float32, copy=True) if last else nodes, contexts)
            found += [nodes[:, 0].to(torch.float32, copy=True), contexts.float().mean(dim=1)]
        return torch.sigmoid(self._to_score(self._combine(torch.cat(found, dim=-1)))[:, 0])


class FoldedTSHSR(FoldedForm):
    """A `Scorer` equal to `TSHSR.score` in evaluation mode; copies the weights as they are now.

    Args:
        model: The plain form.
        precision: Of vectors and weights.
    """

    def __init__(self, model: TSHSR, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        dtype, streams = DTYPES[precision], model.named_streams
        self._nodes = {
            name: FoldedNodes(stream.local_similarity, stream.global_similarity, stream.smooth, precision)
            for name, stream in streams.items()
        }
        self._readings = {name: _Reasoning(stream, dtype) for name, stream in streams.items()}
        self._shares = dict.fromkeys(streams, 1 / len(streams))
        if model.config.fusion == "learned":
            share = float(torch.sigmoid(model.fusion.detach()))
            self._shares = {"t2i": share, "i2t": 1 - share}

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return prepare(code, self.precision, "t2i" in self._nodes)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return prepare(code, self.precision, "i2t" in self._nodes)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        captions = list(_dense(texts))
        for rows, pictures in _dense(images):
            for columns, some in captions:
                into[rows[:, None], columns] = self._score_block(pictures, some)

    def _score_block(self, images: Side, texts: Side) -> Float[Tensor, "img txt"]:
        """Score rows whose items are equally many and all real."""
        a, b = len(images.local), len(texts.local)
        score = torch.zeros(a, b, device=images.local.device)
        for name, share in self._shares.items():
            contexts, queries = (images, texts) if name == "t2i" else (texts, images)
            found = self._readings[name](self._nodes[name](contexts, queries))
            score.add_(found.view(a, b) if name == "t2i" else found.view(b, a).T, alpha=share)
        return score


def _dense(code: ImageCode | TextCode) -> Iterator[tuple[Int[Tensor, " some"], Side]]:
    """Group a prepared code's rows by their number of real items, and leave their padding out."""
    overall, gram = code.parts["global"], code.parts[GRAM]
    for rows, length in by_length(code.mask):
        if rows is None:
            yield torch.arange(len(code.mask), device=code.mask.device), Side(code.local, None, overall, gram)
            continue
        local, products = real_items(code.local, code.mask, rows, length), None
        if gram.ndim == 3:
            products = real_items(gram, code.mask, rows, length).transpose(1, 2)
            products = products[code.mask[rows]].view(len(rows), length, length)
        yield rows, Side(local, None, overall[rows], products)
