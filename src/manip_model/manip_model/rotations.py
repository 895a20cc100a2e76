"""Rotations as matrices, rotation vectors and six numbers, batched and differentiable."""

import torch
from torch import Tensor
from torch.nn import functional as F


def matrix_from_6d(values: Tensor) -> Tensor:
    """Proper rotations ``(…, 3, 3)`` of ``(…, 6)``: the first two columns, made orthonormal.

    Zhou et al. 2019, "On the continuity of rotation representations in neural networks".
    """
    a, b = values[..., :3], values[..., 3:]
    x = F.normalize(a, dim=-1)
    y = F.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.cross(x, y, dim=-1)), dim=-1)


def matrix_to_6d(rotation: Tensor) -> Tensor:
    """The first two columns ``(…, 6)`` of rotations ``(…, 3, 3)``."""
    return torch.cat((rotation[..., 0], rotation[..., 1]), dim=-1)


def matrix_from_rotvec(vector: Tensor) -> Tensor:
    """Rotations ``(…, 3, 3)`` of rotation vectors ``(…, 3)`` [rad] (Rodrigues); smooth at zero."""
    square = (vector * vector).sum(-1)
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    # Taylor series at zero, where both quotients and their gradients are 0/0.
    a = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)[..., None, None]
    b = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / angle**2)[..., None, None]
    k = skew(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + a * k + b * (k @ k)


def rotvec_from_matrix(rotation: Tensor) -> Tensor:
    """Rotation vectors ``(…, 3)`` [rad], no longer than π, of rotations ``(…, 3, 3)``.

    By way of the quaternion whose largest component is found first, which is exact up to and
    including half turns (Shepperd 1978); gradients are finite everywhere, half turns included.
    """
    q = _quaternion(rotation)
    w, xyz = q[..., :1], q[..., 1:]
    # Of the two quaternions, the one with the shorter way.
    sign = torch.where(w < 0, -1.0, 1.0).to(q.dtype)
    w, xyz = w * sign, xyz * sign
    square = (xyz * xyz).sum(-1, keepdim=True)
    small = square < 1e-10
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    factor = torch.where(small, 2 / w.clamp(min=1e-3), 2 * torch.atan2(sine, w) / sine)
    return xyz * factor


def _quaternion(m: Tensor) -> Tensor:
    """Unit quaternions ``(…, 4)`` (w, x, y, z)."""
    d0, d1, d2 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack(
        (1 + d0 + d1 + d2, 1 + d0 - d1 - d2, 1 - d0 + d1 - d2, 1 - d0 - d1 + d2), -1
    )
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 1, 0] + m[..., 0, 1],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 2, 1] + m[..., 1, 2],
    )
    # Each row is 4 q_i times the quaternion: the best conditioned one is taken.
    rows = torch.stack(
        (
            torch.stack((squares[..., 0], wx, wy, wz), -1),
            torch.stack((wx, squares[..., 1], xy, xz), -1),
            torch.stack((wy, xy, squares[..., 2], yz), -1),
            torch.stack((wz, xz, yz, squares[..., 3]), -1),
        ),
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    return F.normalize(rows.gather(-2, best).squeeze(-2), dim=-1)


def none_in_6d(like: Tensor) -> Tensor:
    """``(6,)`` of no rotation, of ``like``'s dtype and device."""
    # Made on the device: a captured CUDA graph cannot fetch numbers from the host.
    return matrix_to_6d(torch.eye(3, dtype=like.dtype, device=like.device))


def skew(vector: Tensor) -> Tensor:
    """``(…, 3, 3)`` with ``skew(a) @ b = a x b``."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle ``(…)`` in [rad], 0 to π, between rotations ``(…, 3, 3)``.

    From both sine and cosine, so that it is exact near 0 and near π, where the arc cosine of the
    trace is not; its gradient is bounded.
    """
    relative = a.transpose(-1, -2) @ b
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    odd = torch.stack(
        (
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ),
        -1,
    )
    sine = ((odd * odd).sum(-1) / 4 + 1e-14).sqrt()
    return torch.atan2(sine, cosine)


def mirrored(rotation: Tensor) -> Tensor:
    """Rotations ``(…, 3, 3)`` as seen in a mirror across the plane x = 0."""
    flip = 1 - 2 * torch.eye(3, dtype=rotation.dtype, device=rotation.device)[0]
    return flip[:, None] * rotation * flip
