# Source this (bash) to use the suite from a shell on a machine without ROS 2: puts the virtual
# environment and the built workspace in place, so that `manip` and the nodes are found.
_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ -z "${ROS_DISTRO:-}" ] && [ -z "${MANIP_ENV:-}" ]; then
  export VIRTUAL_ENV="$_root/.venv"
  export AMENT_PREFIX_PATH="$_root/install:$_root/.venv"
  export CMAKE_PREFIX_PATH="$AMENT_PREFIX_PATH"
  export LD_LIBRARY_PATH="$_root/install/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export PATH="$_root/.venv/bin:$_root/install/lib/manip_bringup:$PATH"
  # Runs on this machine alone unless the user says otherwise.
  export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
  # Read by the wheels' own start-up: must not be inherited from another environment.
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  export MANIP_ENV=1
fi
unset _root
