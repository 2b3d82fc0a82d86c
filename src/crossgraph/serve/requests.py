"""Models of the parameters of each request, and the search request that becomes a query."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query as InAddress
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crossgraph.core.types import Regions
from crossgraph.search.query import MOST_HITS, MOST_WORDS, Query, parse_query
from crossgraph.serve.problems import Problem
from crossgraph.serve.responses import Identifier
from crossgraph.store import parse_filter
from crossgraph.store.filter_tree import Filter

_LETTERS = 20 * MOST_WORDS
_SENTENCE = rf"^\s*([^\s-]\S*|-([^\w\s\"]\S*)?)(\s+\S+){{0,{MOST_WORDS - 1}}}\s*$"
_WORDS = rf"^\s*(\S+(\s+\S+){{0,{MOST_WORDS - 1}}}\s*)?$"
_CLAUSE = (
    r"((path|name|folder|root|caption|camera) (~|=|!=) '[A-Za-z0-9 ]{1,20}'"
    r"|date (=|!=|<|<=|>|>=) [12][0-9]{3}(-0[1-9])?"
    r"|(width|height|megapixels|latitude|longitude) (=|!=|<|<=|>|>=) [0-9]{1,6})"
)
FILTER = rf"^({_CLAUSE}( (and|or) {_CLAUSE}){{0,5}})?$"
"""Simple filters, as a pattern for programs that read OpenAPI. Parentheses, `not` and more are understood too."""


def _check_length(text: str) -> str:
    if len(text.split()) > MOST_WORDS or len(text) > _LETTERS:
        raise ValueError(f"{len(text.split()):,} words in {len(text):,} letters, at most {MOST_WORDS} are read")
    return text


def _without_null(schema: dict[str, Any]) -> None:
    """Change the schema of an optional parameter: it may be absent but not null."""
    (value,) = [choice for choice in schema.pop("anyOf") if choice.get("type") != "null"]
    schema.pop("default", None)
    schema.update(value)


Sentence = Annotated[str, AfterValidator(_check_length)]


class _Parameters(BaseModel):
    """Base of all parameters: an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")


class _SearchOptions(_Parameters):
    """Parameters of every search."""

    minus: Annotated[list[Sentence], Field(max_length=20)] = Field(
        default=[], description="what must not be in it, a term each"
    )
    where: str = Field(
        default="",
        max_length=4000,
        description="what else must hold: date >= 2020 and (path ~ 'alps' or not camera = Canon)",
        json_schema_extra={"pattern": FILTER, "examples": ["date >= 2020 and path ~ 'alps'"]},
    )
    like: Annotated[list[Identifier], Field(max_length=50)] = Field(default=[], description="pictures to look like")
    unlike: Annotated[list[Identifier], Field(max_length=50)] = Field(
        default=[], description="pictures not to look like"
    )
    picture_weight: float = Field(default=0.5, ge=0, le=1, description="share of the picture where words are given too")
    k: int = Field(default=20, ge=1, le=MOST_HITS, description="hits wanted")
    offset: int = Field(default=0, ge=0, le=MOST_HITS, description="hits to leave out at the start")
    min_probability: float = Field(default=0.0, ge=0, le=1, description="leave out less likely hits")
    recall: float | None = Field(
        default=None,
        gt=0,
        le=1,
        json_schema_extra=_without_null,
        description="share of best pictures that the short list must hold",
    )
    join_words: bool = Field(default=False, description="let words of captions and file names count too")
    explain: bool = Field(default=False, description="tell which word met which region of every hit")


class SearchParameters(_SearchOptions):
    """Parameters of a search by words, by pictures of the library, or by a picture uploaded before."""

    q: Sentence = Field(
        default="",
        description="a description; -word takes something out. May be left out where `like` or `picture` is given.",
        json_schema_extra={
            "pattern": _SENTENCE,
            "minLength": 1,
            "maxLength": _LETTERS,
            "examples": ["two dogs in the snow -person"],
        },
    )
    picture: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_-]{22})?$",
        description="an uploaded picture, by the name that the answer to its upload gave",
    )


class SearchForm(_SearchOptions):
    """Form of a search by an uploaded picture, with words or without."""

    q: Sentence = Field(default="", json_schema_extra={"pattern": _WORDS, "maxLength": _LETTERS})


class LikeParameters(_Parameters):
    """Parameters of a search for pictures like a given one."""

    k: int = Field(default=20, ge=1, le=MOST_HITS)
    offset: int = Field(default=0, ge=0, le=MOST_HITS)


class ExplainParameters(_Parameters):
    """Parameters of an explanation."""

    ids: str = Field(
        max_length=4000,
        pattern=r"^[0-9]{1,15}(,[0-9]{1,15}){0,199}$",
        description="pictures, at most 200, joined by commas",
        examples=["1,2,3"],
    )
    q: Sentence = Field(
        min_length=1,
        description="a description",
        json_schema_extra={"pattern": _SENTENCE, "maxLength": _LETTERS},
    )


class CaptionForm(_Parameters):
    """Form of a picture with sentences to rank for it."""

    id: Identifier | None = Field(
        default=None, json_schema_extra=_without_null, description="a picture of the library, where none is sent"
    )
    captions: Annotated[list[Sentence], Field(max_length=2000)] = Field(
        [], description="sentences to choose from; without any, the captions of the library"
    )
    k: int = Field(default=20, ge=1, le=MOST_HITS)


class IndexRequest(_Parameters):
    """Body of a request to index."""

    roots: list[str] | None = Field(
        default=None,
        max_length=100,
        description="folders of the library to look at again; without any, all of them. New folders are added at the "
        "keyboard: crossgraph index FOLDER",
    )


Search = Annotated[SearchParameters, InAddress()]
Like = Annotated[LikeParameters, InAddress()]
Explain = Annotated[ExplainParameters, InAddress()]


class SearchRequest:
    """A search with its text split into wanted and unwanted words, and its filter parsed.

    Args:
        given: Parameters of either kind.
        q: Its text.

    Raises:
        FilterError: The filter cannot be read.
    """

    def __init__(self, given: SearchParameters | SearchForm | None = None, q: str = "") -> None:
        given = given or SearchParameters()
        self.given = given
        self.text, minus = parse_query(q)
        self.minus = tuple(dict.fromkeys(term.strip() for term in (*minus, *given.minus) if term.strip()))
        self.like, self.unlike = tuple(dict.fromkeys(given.like)), tuple(dict.fromkeys(given.unlike))
        self.where: Filter | None = parse_filter(given.where) if given.where.strip() else None

    def check_has_query(self, has_picture: bool) -> None:
        """Check that there is something to rank by.

        Raises:
            Problem: There is nothing.
        """
        if self.text or has_picture or self.like:
            return
        is_narrowed = bool(self.minus or self.unlike or self.where is not None)
        raise Problem(
            422,
            "a filter or a minus alone says nothing to rank by" if is_narrowed else "nothing is asked",
            "give a few words, such as 'two dogs in the snow', or a picture",
            "nothing-asked",
        )

    def query(self, picture: Regions | None, k: int) -> Query:
        """Return the query for the searcher: the same with regions of an uploaded picture, and `k` hits."""
        shared = self.given.model_dump(include={"picture_weight", "min_probability", "recall", "join_words"})
        own = {name: getattr(self, name) for name in ("text", "minus", "where", "like", "unlike")}
        return Query(picture=picture, k=k, **own, **shared)
