"""Builds the kernels for a GPU with NVRTC, which torch's CUDA wheels bring, and starts them.

Only the plain C interfaces of NVRTC and of the driver are used: a toolkit is not needed.
"""

import ctypes
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from manip_training.synthetic.kernel_build import KERNELS, cache_folder, put, sources_hash
from manip_training.synthetic.kernel_scene import KernelScene

# Divisions and roots of full precision cost more than their last digit is worth here.
FLAGS = ("--std=c++17", "--use_fast_math")

Size = tuple[int, int, int]


class CudaModule:
    """The kernels on one GPU."""

    def __init__(self, device: torch.device):
        self._device = device
        capability = "".join(map(str, torch.cuda.get_device_capability(device)))
        binary = compiled(f"sm_{capability}", str(torch.version.cuda))
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._driver.cuLaunchKernel.argtypes = (
            *(ctypes.c_void_p, *[ctypes.c_uint] * 7, ctypes.c_void_p),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._module = ctypes.c_void_p()
        with torch.cuda.device(device):
            # A first use by torch makes the device's context this thread's.
            torch.zeros(1, device=device)
            self._call("cuModuleLoadData", ctypes.byref(self._module), binary)

    def launch(self, kernel: str, grid: Size, block: Size, scene: KernelScene) -> None:
        """Queue a kernel on the current stream of the device."""
        if kernel not in self._functions:
            function = ctypes.c_void_p()
            name = kernel.encode()
            self._call("cuModuleGetFunction", ctypes.byref(function), self._module, name)
            self._functions[kernel] = function
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(scene))
        stream = torch.cuda.current_stream(self._device).cuda_stream
        with torch.cuda.device(self._device):
            self._call(
                "cuLaunchKernel", self._functions[kernel], *grid, *block, 0, stream, arguments, None
            )

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(status, ctypes.byref(text))
            raise RuntimeError(f"{name} failed: {(text.value or b'').decode()} ({status})")


def compiled(architecture: str, cuda: str) -> bytes:
    """The kernels' machine code, from the cache if they were built before.

    Args:
        architecture: Such as ``sm_90``.
        cuda: Version of CUDA whose NVRTC is to build them, such as ``12.8``.

    Raises:
        RuntimeError: There is no NVRTC, or it fails; the message holds what it said.
    """
    key = hashlib.sha256("\n".join((sources_hash(), architecture, cuda, *FLAGS)).encode())
    path = cache_folder() / f"{architecture}-{key.hexdigest()[:24]}.cubin"
    if not path.exists():
        options = (f"--gpu-architecture={architecture}", f"--include-path={KERNELS}", *FLAGS)
        binary = _compile((KERNELS / "cuda.cu").read_bytes(), options, _nvrtc(cuda))
        put(path, lambda name: Path(name).write_bytes(binary))
    return path.read_bytes()


def _nvrtc(cuda: str) -> ctypes.CDLL:
    """The library, from where torch's wheels or the system have it."""
    name = f"libnvrtc.so.{cuda.split('.')[0]}"
    wheels = find_spec("nvidia")
    folders = map(Path, (wheels.submodule_search_locations or ()) if wheels else ())
    found = [path for folder in folders for path in sorted(folder.glob(f"*/lib/{name}"))]
    if found:
        # The compiler looks for its other half by name, and not where wheels have it.
        for half in found[0].parent.glob("libnvrtc-builtins.so*"):
            ctypes.CDLL(str(half))
        return ctypes.CDLL(str(found[0]))
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeError(
            f"drawing on a GPU needs NVRTC: {name} is neither in torch's wheels nor in the system"
        ) from error


def _compile(source: bytes, options: Sequence[str], nvrtc: ctypes.CDLL) -> bytes:
    def call(name: str, *arguments: object) -> int:
        return getattr(nvrtc, name)(*arguments)

    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    if status := call(
        "nvrtcCreateProgram", ctypes.byref(program), source, b"cuda.cu", 0, None, None
    ):
        raise RuntimeError(f"nvrtcCreateProgram failed ({status})")
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if status := call("nvrtcCompileProgram", program, len(options), given):
            call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            call("nvrtcGetProgramLog", program, log)
            raise RuntimeError(
                f"NVRTC failed ({status}) with {' '.join(options)}:\n{log.value.decode()[-4000:]}"
            )
        if status := call("nvrtcGetCUBINSize", program, ctypes.byref(size)):
            raise RuntimeError(f"nvrtcGetCUBINSize failed ({status})")
        binary = ctypes.create_string_buffer(size.value)
        if status := call("nvrtcGetCUBIN", program, binary):
            raise RuntimeError(f"nvrtcGetCUBIN failed ({status})")
        return binary.raw
    finally:
        call("nvrtcDestroyProgram", ctypes.byref(program))
