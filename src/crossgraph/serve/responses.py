"""Models of the responses: they check what is sent and describe it in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from crossgraph.search.results import Timings

Identifier = Annotated[int, Field(ge=0, le=2**53 - 1, description="a picture's number in the library")]
Grid = tuple[int, int, int]
Box = tuple[float, float, float, float]


class Token(BaseModel):
    """A word as the model read it."""

    text: str
    start: int = Field(description="where it begins in q, in characters")
    end: int
    known: bool = Field(description="whether the model's vocabulary has it")
    content: bool = Field(description="whether it can name something seen")
    special: bool = Field(description="whether it is the sentence's start or end")


class WordRegions(BaseModel):
    """Which word met which region of a picture."""

    significance: list[float] = Field(description="how much each token counted")
    global_: float = Field(serialization_alias="global", description="how much picture and sentence as a whole counted")
    grids: list[Grid] = Field(description="[first region, rows, columns] of grids that tile the picture; else none")
    boxes: list[Box] | None = Field(description="x0, y0, x1, y1 of each region, as shares of width and height")
    weights: list[list[float]] = Field(description="for each token the share of each region; rows sum to 1")


class Explained(WordRegions):
    """A picture explained."""

    id: Identifier
    path: str | None
    score: float
    probability: float | None


class Hit(BaseModel):
    """A picture found."""

    id: Identifier
    path: str
    name: str
    score: float = Field(description="what hits are ordered by")
    probability: float | None = Field(description="that the words were written for it; null where not calibrated")
    copies: int = Field(description="near-duplicates and copies that this hit stands for")
    width: int
    height: int
    date: str | None
    thumbnail: str = Field(description="where its thumbnail is")


class ExplainedHit(Hit, WordRegions):
    """A picture found, with explain=1."""


class Answer(BaseModel):
    """What a search found."""

    hits: list[ExplainedHit | Hit]
    tokens: list[Token]
    unknown: list[str] = Field(description="words that the model does not know")
    any_good: bool = Field(description="whether a hit is more likely a match than not")
    total: int = Field(description="hits available for paging; a bound until the last page")
    cut: bool = Field(default=False, description="whether pictures are left out behind the last that paging reaches")
    pictures: int = Field(description="in the library")
    short_list: int = Field(description="pictures that were looked at closely")
    wanted: int = Field(description="pictures that the recall target asks to look at closely")
    timings: Timings
    picture: str | None = Field(default=None, description="names an uploaded picture in GET requests, for ten minutes")
    message: str | None = Field(default=None, description="what else there is to know")


class Explanation(BaseModel):
    """Why pictures match a sentence, or do not."""

    tokens: list[Token]
    unknown: list[str]
    pictures: list[Explained]
    model: str = Field(description="the kind of model that was asked")
    missing: list[Identifier] = Field(description="asked-for pictures that are no longer there")
    message: str | None = None


class Details(BaseModel):
    """What is known of a picture."""

    id: Identifier
    name: str
    path: str
    paths: list[str] = Field(description="where copies of it lie")
    width: int
    height: int
    date: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    captions: list[str]
    thumbnail: str
    image: str


class RankedCaption(BaseModel):
    """A sentence for a picture."""

    text: str
    score: float
    probability: float | None


class Captions(BaseModel):
    """Sentences for a picture, the best first."""

    captions: list[RankedCaption]
    message: str | None = None


class JobProgress(BaseModel):
    """How far an index job is."""

    id: str
    state: Literal["running", "done", "failed", "stopped"]
    what: str = Field(description="what is counted now")
    done: int
    total: int
    rate: float = Field(description="a second")
    left: float | None = Field(description="seconds, estimated")
    seconds: float = Field(description="since its start")
    outcome: dict[str, Any] | None = Field(default=None, description="what it did, when done")
    problem: str | None = Field(default=None, description="why it failed")


class LibraryState(BaseModel):
    """What the library holds."""

    folder: str
    pictures: int
    files: int
    broken: int
    roots: list[str]
    model: str | None
    region_encoder: str | None
    index: str | None
    calibrated: bool
    store: str
    codes: str | None
    bytes_per_picture: int
    indexed: str | None = Field(description="when it was last indexed")
    indexing: JobProgress | None = Field(description="the index job that runs")
    last_job: str | None
    hint: str | None = Field(description="what to do next, where it is empty")


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok", "ending"]
    version: str
    instance: str = Field(description="changes with every start")
