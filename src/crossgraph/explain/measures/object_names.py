"""Finds the words of a caption that name objects.

A *lexicon* maps phrases (tokens as `crossgraph.text.tokenizer` gives them) to names of objects, or to None where a
phrase only looks like one: the mouse of "mouse pad", the stars of "under the stars". The longest phrase counts, and
its last word, the head of the noun phrase, is the word whose attention is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossgraph.data.scenes.captions import PLACES, VIEWS
from crossgraph.data.scenes.objects import BY_NAME
from crossgraph.data.scenes.objects import plural as scene_plural
from crossgraph.text.tokenizer import tokenize

Lexicon = Mapping[tuple[str, ...], str | None]

COCO_SYNONYMS: Mapping[str, str] = {
    "person": """man woman boy girl child kid baby toddler guy lady gentleman people men women children player
        skier surfer skateboarder snowboarder rider cyclist biker motorcyclist pedestrian batter catcher umpire
        officer policeman worker chef tourist passenger crowd""",
    "bicycle": "bike cycle",
    "car": "suv sedan taxi cab automobile minivan",
    "motorcycle": "motorbike motor_bike motor_cycle moped scooter motor_scooter",
    "airplane": "plane aeroplane jet airliner aircraft",
    "bus": "double_decker",
    "train": "locomotive",
    "truck": "lorry pickup pickup_truck",
    "boat": "ship sailboat canoe kayak ferry rowboat yacht",
    "traffic light": "traffic_signal stoplight stop_light",
    "fire hydrant": "hydrant",
    "stop sign": "stopsign",
    "bird": "seagull gull duck goose geese pigeon parrot owl swan",
    "cat": "kitten kitty",
    "dog": "puppy pup",
    "horse": "pony",
    "sheep": "lamb",
    "cow": "cattle bull calf calves",
    "bear": "polar_bear grizzly",
    "backpack": "rucksack",
    "umbrella": "parasol",
    "handbag": "purse hand_bag",
    "tie": "necktie",
    "suitcase": "luggage baggage",
    "skis": "ski",
    "sports ball": "ball soccer_ball tennis_ball baseball basketball football volleyball",
    "baseball bat": "bat",
    "baseball glove": "glove mitt",
    "skateboard": "skate_board",
    "surfboard": "surf_board",
    "snowboard": "snow_board",
    "tennis racket": "racket racquet tennis_racquet",
    "bottle": "wine_bottle beer_bottle water_bottle",
    "wine glass": "wineglass",
    "cup": "mug coffee_cup teacup",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "couch": "sofa",
    "potted plant": "plant houseplant",
    "dining table": "table",
    "toilet": "commode",
    "tv": "television t.v monitor flat_screen",
    "laptop": "laptop_computer notebook_computer",
    "mouse": "computer_mouse",
    "remote": "remote_control controller",
    "cell phone": "phone cellphone smartphone mobile_phone iphone",
    "oven": "stove",
    "refrigerator": "fridge",
    "teddy bear": "teddy stuffed_bear",
    "hair drier": "hair_dryer blow_dryer",
    "toothbrush": "tooth_brush",
}
"""How captions call COCO's 80 categories beside their own names; `_` joins the words of a phrase."""

COCO_MISLEADING = """
    mouse_pad hot_plate horse_shoe sea_horse bus_stop bus_station train_station train_track train_tracks boat_house
    car_park car_port book_shelf book_case bed_spread bed_room chair_lift ski_lift ski_slope ski_resort cat_food
    dog_food dog_house bird_house bird_cage toilet_paper sink_hole clock_tower truck_stop bear_claw apple_computer
    table_cloth table_top table_tennis pool_table coffee_table end_table side_table football_field football_game
    baseball_field baseball_game baseball_uniform basketball_court phone_booth bottle_opener cake_stand orange
"""
"""Phrases that hold a category's word and mean something else; "orange" alone is a colour far more often."""

_IRREGULAR = {
    "person": ("people", "persons"),
    "man": ("men",),
    "woman": ("women",),
    "child": ("children",),
    "gentleman": ("gentlemen",),
    "policeman": ("policemen",),
    "mouse": ("mice", "mouses"),
    "knife": ("knives",),
    "calf": ("calves",),
    "goose": ("geese",),
}
_WITHOUT_PLURAL = (
    *("people", "men", "women", "children", "geese", "calves", "sheep", "cattle", "scissors", "skis", "broccoli"),
    *("luggage", "baggage", "aircraft"),
)


@dataclass(frozen=True)
class Mention:
    """A word that names an object.

    Attributes:
        start: First character in the caption.
        end: Last character, exclusive.
        name: Of the object.
    """

    start: int
    end: int
    name: str


def find_mentions(caption: str, lexicon: Lexicon) -> list[Mention]:
    """Return the words of a caption that name objects; of phrases that overlap the longest counts."""
    words = tokenize(caption)
    longest = max(map(len, lexicon), default=0)
    mentions: list[Mention] = []
    start = 0
    while start < len(words):
        for end in range(min(start + longest, len(words)), start, -1):
            phrase = tuple(word.text for word in words[start:end])
            if phrase in lexicon:
                head, name = words[end - 1], lexicon[phrase]
                mentions += [Mention(head.start, head.end, name)] if name is not None else []
                start = end
                break
        else:
            start += 1
    return mentions


def category_lexicon(categories: Iterable[str]) -> Lexicon:
    """Return the phrases that name categories of a COCO file: their names, COCO's synonyms, plurals of both.

    Args:
        categories: As the file writes them; those that are not COCO's 80 have their names alone.
    """
    known = list(categories)
    lexicon: dict[tuple[str, ...], str | None] = {}
    for category in known:
        synonyms = COCO_SYNONYMS.get(category.lower(), "").split()
        for phrase in _singular_and_plural(word.replace("_", " ").lower() for word in synonyms):
            lexicon.setdefault(phrase, category)
    for category in known:  # a category's own name wins over another's synonym
        lexicon |= dict.fromkeys(_singular_and_plural([category.lower()]), category)
    return lexicon | {tuple(phrase.split("_")): None for phrase in COCO_MISLEADING.split()}


def scene_lexicon() -> Lexicon:
    """Return the phrases that name objects of scenes: each by its name and plural, and by its kind."""
    lexicon: dict[tuple[str, ...], str | None] = {}
    for name in BY_NAME:
        kind = scene_names(name)[1]
        lexicon |= dict.fromkeys([(kind,), (scene_plural(kind),)], kind)
    for item in BY_NAME.values():
        lexicon |= dict.fromkeys([_words(item.name), _words(item.plural)], item.name)
    for ground in [*PLACES.values(), *VIEWS.values()]:
        lexicon |= {_words(phrase): None for phrase in ground if len(_words(phrase)) > 1}
    return lexicon


def scene_names(name: str) -> tuple[str, ...]:
    """Return the names in `scene_lexicon` that refer to an object of this name: itself, and its kind."""
    item = BY_NAME.get(name)
    return (name,) if item is None else (name, "object" if item.kind == "thing" else item.kind)


def _singular_and_plural(phrases: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield each phrase in singular and plural."""
    for phrase in phrases:
        words = _words(phrase)
        yield words
        for plural in _plurals(words[-1]):
            yield (*words[:-1], plural)


def _plurals(word: str) -> Sequence[str]:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _WITHOUT_PLURAL or word.endswith("'s"):
        return ()
    if word.endswith(("s", "sh", "ch", "x")):
        return (f"{word}es",)
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return (f"{word[:-1]}ies",)
    return (f"{word}s",)


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(word.text for word in tokenize(phrase))
