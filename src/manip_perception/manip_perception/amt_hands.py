"""From what the pose transformer says of a hand to a :class:`manip_core.hand.Hand`."""

from collections.abc import Mapping

import numpy as np

from manip_core.hand import SIDES, Hand, SeenContact, SeenObject
from manip_model.config import CONTACT_TYPES
from manip_model.hand_regions import CONTACT_REGIONS
from manip_perception.contact import ContactConfig, contact_likelihood
from manip_perception.hand_reading import Reading
from manip_perception.hand_tracker import Track
from manip_perception.metric import LENGTH_CHAIN


class HandMaker:
    """Makes hands out of readings, and learns how long the user's are."""

    def __init__(
        self,
        object_classes: tuple[str, ...],
        *,
        hand_length: float,
        object_confidence: float,
        contact_confidence: float,
    ):
        """Settings.

        Args:
            object_classes: Names of what the network tells apart.
            hand_length: The user's hand, wrist to middle fingertip along the bones [m]; 0: as the
                network sees it.
            object_confidence, contact_confidence: Least probability of what is told of.
        """
        self._classes = object_classes
        self._object_confidence = object_confidence
        self._contact_confidence = contact_confidence
        self._contact = ContactConfig()
        self._lengths = {side: _HandLength(hand_length) for side in SIDES}

    def hand(self, track: Track, reading: Reading, stamp: float, pixels: np.ndarray) -> Hand:
        """The hand of a track.

        Args:
            track: It follows the hand.
            reading: Of the picture.
            stamp: Of the picture [s].
            pixels: ``(21, 2)`` keypoints in the picture as it came [px].
        """
        scale = self._lengths[track.side].scale(reading.keypoints)
        keypoints = reading.keypoints * scale
        return Hand(
            stamp=stamp,
            side=track.side,
            keypoints=keypoints,
            keypoints_std=reading.std * scale,
            keypoints_px=pixels,
            contact=contact_likelihood(keypoints, track.side, self._contact),
            confidence=track.belief * track.certainty,
            tracked=True,
            mano_pose=reading.fields["mano_pose"].astype(np.float64),
            mano_shape=reading.fields["mano_shape"].astype(np.float64),
            vertices=reading.fields["vertices"].astype(np.float64) * scale,
            objects=self._objects(reading.fields, scale),
            contacts=self._contacts(reading.fields, scale),
        )

    def _objects(self, fields: Mapping[str, np.ndarray], scale: float) -> tuple[SeenObject, ...]:
        """Surest first."""
        sure = _probability(fields["object_confidence_logits"])
        return tuple(
            SeenObject(
                name=self._classes[int(fields["object_class_logits"][row].argmax())],
                position=fields["object_position"][row].astype(np.float64) * scale,
                rotation=fields["object_rotation"][row].astype(np.float64),
                confidence=float(sure[row]),
            )
            for row in np.argsort(-sure)
            if sure[row] >= self._object_confidence
        )

    def _contacts(self, fields: Mapping[str, np.ndarray], scale: float) -> tuple[SeenContact, ...]:
        """In the order of the regions."""
        sure = _probability(fields["contact_confidence_logits"])
        return tuple(
            SeenContact(
                region=region,
                point=fields["contact_point"][row].astype(np.float64) * scale,
                # The network's points from the hand into the object; here the hand bears it.
                force_direction=_unit(-fields["contact_force_direction"][row].astype(np.float64)),
                force=float(fields["contact_force"][row]),
                kind=CONTACT_TYPES[int(fields["contact_type_logits"][row].argmax())],
                probability=float(sure[row]),
            )
            for row, region in enumerate(CONTACT_REGIONS)
            if sure[row] >= self._contact_confidence
        )


class _HandLength:
    """Brings a hand to the user's own size, about the camera: no image point moves."""

    # Pictures that the mean length remembers: hands do not grow, but their estimates vary.
    MEMORY = 200

    def __init__(self, asked: float):
        self._asked, self._pictures, self._mean = asked, 0, 0.0

    def scale(self, keypoints: np.ndarray) -> float:
        """The factor for a hand with these ``(21, 3)`` keypoints."""
        if not self._asked:
            return 1.0
        length = float(np.linalg.norm(np.diff(keypoints[LENGTH_CHAIN], axis=0), axis=1).sum())
        self._pictures += 1
        self._mean += max(1 / self._pictures, 1 / self.MEMORY) * (length - self._mean)
        return self._asked / max(self._mean, 1e-3)


def _probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.zeros(3)
