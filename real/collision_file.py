"""What may stand in a bundle's collision model: MJCF of primitives, which makes MuJoCo read nothing else.

MuJoCo's format can include files, load meshes and plug-ins, and set callbacks' parameters. Here every element and
attribute that is not listed is refused, and so is whatever XML itself can refer to.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from robolearn.errors import UserError

LONGEST, MOST = 200_000, 1000  # characters, elements
NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)
NUMBERS = {"pos": 3, "quat": 4, "axis": 3, "boundmass": 1, "boundinertia": 1}  # how many; of "size", by the type
SIZES = {"sphere": 1, "capsule": 2, "cylinder": 2, "box": 3}
WORDS = {"angle": ("radian",)}
# attributes of each element, and what may be in it
ELEMENTS: dict[str, tuple[set[str], set[str]]] = {
    "mujoco": ({"model"}, {"compiler", "worldbody", "contact"}),
    "compiler": ({"angle", "boundmass", "boundinertia"}, set()),
    "worldbody": (set(), {"body", "geom"}),
    "body": ({"name", "pos", "quat"}, {"body", "joint", "geom"}),
    "joint": ({"name", "type", "axis"}, set()),
    "geom": ({"name", "type", "size", "pos", "quat"}, set()),
    "contact": (set(), {"exclude"}),
    "exclude": ({"body1", "body2"}, set()),
}


def require_primitives(text: str) -> None:
    """Check a collision model.

    Raises:
        UserError: naming what it must not hold, or that it is no XML.
    """
    if len(text) > LONGEST:
        raise _refused(f"{len(text)} characters, more than {LONGEST}")
    if "<!" in text or "<?" in text or "&" in text:
        raise _refused("a declaration, an entity or a comment")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise _refused(f"what is no XML ({error})") from error
    if root.tag != "mujoco":
        raise _refused(f"<{root.tag}> as its root")
    if (count := sum(1 for _ in root.iter())) > MOST:
        raise _refused(f"{count} elements, more than {MOST}")
    for element in root.iter():
        _check(element)


def _check(element: ET.Element) -> None:
    attributes, children = ELEMENTS[element.tag]  # known, because its parent allows it
    for child in element:
        if child.tag not in children:
            raise _refused(f"<{child.tag}> in <{element.tag}>")
    if (element.text or "").strip() or (element.tail or "").strip():
        raise _refused(f"text in or after <{element.tag}>")
    for key, value in element.attrib.items():
        if key not in attributes:
            raise _refused(f"'{key}' of <{element.tag}>")
        if not _fits(element, key, value):
            raise _refused(f'{key}="{value[:40]}" of <{element.tag}>')
    if element.tag in ("geom", "joint") and not {"name", "type"} <= set(element.attrib):
        raise _refused(f"a <{element.tag}> without name or type")
    if element.tag == "geom" and "size" not in element.attrib:
        raise _refused("a <geom> without size")


def _fits(element: ET.Element, key: str, value: str) -> bool:
    if key == "type":
        return value in (SIZES if element.tag == "geom" else ("hinge", "slide"))
    if key in WORDS:
        return value in WORDS[key]
    if key == "size":
        return _numbers(value, SIZES.get(element.get("type", ""), 0)) and all(float(v) > 0 for v in value.split())
    return _numbers(value, NUMBERS[key]) if key in NUMBERS else NAME.fullmatch(value) is not None


def _numbers(text: str, count: int) -> bool:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return False
    return len(values) == count and all(map(math.isfinite, values))


def _refused(what: str) -> UserError:
    return UserError(f"the collision model holds {what}, which is refused: export the bundle again")
