"""Show installed meshes of the arm and the hand instead of the robot description's primitives."""

import re
import xml.etree.ElementTree as ET
from math import pi
from pathlib import Path

# Where meshes lie below the folder that is given, best first: MuJoCo Menagerie, then the ROS
# packages. ur_description's visual meshes are COLLADA, which MuJoCo cannot read, so it is the plain
# grey STL ones.
ARM_FOLDERS = ("universal_robots_ur5e/assets", "ur_description/meshes/ur5e/collision")
HAND_FOLDERS = ("wonik_allegro/assets", "allegro_hand_description/meshes")

# Link: stem of the file name, and the mesh's pose in the link's frame (xyz [m], rpy [rad]); as in
# ur_description and Wonik's allegro_hand_description.
_ARM = {
    "base_link_inertia": ("base", "0 0 0", f"0 0 {pi}"),
    "shoulder_link": ("shoulder", "0 0 0", f"0 0 {pi}"),
    "upper_arm_link": ("upperarm", "0 0 0.138", f"{pi / 2} 0 {-pi / 2}"),
    "forearm_link": ("forearm", "0 0 0.007", f"{pi / 2} 0 {-pi / 2}"),
    "wrist_1_link": ("wrist1", "0 0 -0.127", f"{pi / 2} 0 0"),
    "wrist_2_link": ("wrist2", "0 0 -0.0997", "0 0 0"),
    "wrist_3_link": ("wrist3", "0 0 -0.0989", f"{pi / 2} 0 0"),
}
_FINGER = {"base": "link_0.0", "proximal": "link_1.0", "medial": "link_2.0", "distal": "link_3.0",
           "tip": "link_3.0_tip"}  # fmt: skip
_THUMB = {"proximal": "link_13.0", "medial": "link_14.0", "distal": "link_15.0",
          "tip": "link_15.0_tip"}  # fmt: skip

# A part's colour, from what Menagerie's files call their material to ours in the URDF.
_COLOURS = {"blue": "blue", "black": "black", "joint": "steel", "link": "grey"}


def show_meshes(urdf: str, folder: Path, side: str) -> str:
    """``urdf`` with the visuals of every link that has a mesh below ``folder`` replaced by it.

    Args:
        urdf: Text of the suite's robot description.
        folder: A checkout of MuJoCo Menagerie, or the ``share`` folder of a ROS installation or
            workspace.
        side: ``"left"`` or ``"right"``.

    Raises:
        FileNotFoundError: ``folder`` has no meshes of the arm nor of the hand.
    """
    tables = []
    for names, table in ((ARM_FOLDERS, _ARM), (HAND_FOLDERS, _hand_table(side))):
        if found := next((folder / name for name in names if (folder / name).is_dir()), None):
            tables.append((found.resolve(), table))
    if not tables:
        raise FileNotFoundError(
            f"no meshes in {folder}: expected one of {ARM_FOLDERS + HAND_FOLDERS}"
        )
    robot = ET.fromstring(urdf)
    for place, table in tables:
        for link in robot.iter("link"):
            if link.get("name") in table:
                _replace_visuals(link, place, *table[link.get("name")])
    return ET.tostring(robot, encoding="unicode")


def _hand_table(side: str) -> dict[str, tuple[str, str, str]]:
    # Wonik's left palm and thumb base are drawn in turned frames.
    left = side == "left"
    table = {
        "allegro_palm": (
            "base_link_left" if left else "base_link",
            "0 0 0",
            f"{-left * pi / 2} 0 0",
        ),
        "th_base": (f"link_12.0_{side}", "0 0 0", f"{left * pi} 0 0"),
    }
    for finger, stems in (("ff", _FINGER), ("mf", _FINGER), ("rf", _FINGER), ("th", _THUMB)):
        table |= {f"{finger}_{part}": (stem, "0 0 0", "0 0 0") for part, stem in stems.items()}
    return table


def _replace_visuals(link: ET.Element, place: Path, stem: str, xyz: str, rpy: str) -> None:
    pattern = re.compile(re.escape(stem) + r"(_\d)?\.(obj|stl)", re.IGNORECASE)
    parts = sorted(path for path in place.iterdir() if pattern.fullmatch(path.name))
    visuals = link.findall("visual")
    if not parts or not visuals:
        return
    for visual in visuals:
        link.remove(visual)
    for path in parts:
        visual = ET.SubElement(link, "visual")
        ET.SubElement(visual, "origin", xyz=xyz, rpy=rpy)
        ET.SubElement(ET.SubElement(visual, "geometry"), "mesh", filename=f"file://{path}")
        ET.SubElement(visual, "material", name=_part_colour(path))


def _part_colour(path: Path) -> str:
    """The name of the URDF's material for a mesh file; STL has no colours of its own."""
    if path.suffix.lower() == ".obj":
        with path.open() as file:
            material = next((line for line in file if line.startswith("usemtl")), "").lower()
        return next((ours for theirs, ours in _COLOURS.items() if theirs in material), "grey")
    if path.stem.endswith("tip"):
        return "rubber"
    return "black" if "link" in path.stem else "grey"
