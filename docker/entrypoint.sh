#!/usr/bin/env bash
# Runs a command with ROS 2, the workspace and its Python packages in place.
set -e
. /opt/ros/jazzy/setup.bash
. /opt/manip/install/setup.bash
export PATH="/opt/manip/.venv/bin:$PATH"
exec "$@"
