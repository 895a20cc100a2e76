#!/usr/bin/env bash
# Makes .venv-lerobot, in which tests and benchmarks let LeRobot itself load what `manip export`
# wrote. Apart from .venv, as LeRobot pins versions that are not ours. Only what its data sets need
# is installed, and FFmpeg's libraries, which torchcodec looks for on the system, are PyAV's.
# MANIP_TORCH names the PyTorch to install.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-lerobot
[ -x $venv/bin/python ] || "${PYTHON:-python3}" -m venv $venv
pip="$venv/bin/python -m pip install -q --disable-pip-version-check"
$pip "${MANIP_TORCH:-torch==2.13.0}" -r requirements/lerobot.in
# Their own requirements name older releases of PyTorch, and robots' drivers.
$pip --no-deps lerobot==0.4.4 torchvision==0.28.0 torchcodec==0.13.0
site="$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
mkdir -p $venv/ffmpeg
for lib in "$site"/av.libs/*.so*; do
  ln -sf "$lib" $venv/ffmpeg/
  # libavutil-1a2b3c4d.so.59.39.100 is libavutil.so.59 to who asks for FFmpeg's.
  name="$(basename "$lib" | sed -nE 's/^(lib(av|sw)[a-z]+)-[0-9a-f]+\.so\.([0-9]+)\..*/\1.so.\3/p')"
  [ -z "$name" ] || ln -sf "$lib" "$venv/ffmpeg/$name"
done
echo "ready: $venv"
