"""The structure that the kernels of every device are given, as ``kernels/scene.h`` declares it."""

import ctypes

_POINTERS = (
    *("vertices", "texture", "colour", "material", "lights", "sky", "ground", "up", "camera"),
    *("placement", "background_gain", "lens"),
    *("faces", "face_part", "face_group", "ring_start", "ring", "background", "seed"),
    *("bank", "mirror", "image", "depth", "part"),
    *("normals", "screen", "linear", "blurred", "bounds", "visible"),
)
_NUMBERS = (
    *("first", "images", "num_vertices", "num_faces", "num_parts", "num_backgrounds"),
    *("bank_height", "bank_width", "bank_levels", "bank_texels", "size", "supersample"),
)

SHADOW_SIZE = 128  # [texels] side of the shadow map
BORDER = 16  # [px] beside the rows of the linear picture
MOST_SUPERSAMPLE = 4


class KernelScene(ctypes.Structure):
    """Addresses and sizes of one call; work areas that the CPU does not use stay empty."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int) for name in _NUMBERS),
    )
