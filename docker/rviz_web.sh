#!/usr/bin/env bash
# RViz on a virtual screen, shown at http://127.0.0.1:6080/vnc.html on this machine alone.
set -e
Xtigervnc :6 -geometry "${RVIZ_GEOMETRY:-1600x900}" -localhost yes -SecurityTypes None &
websockify --web /usr/share/novnc 127.0.0.1:6080 127.0.0.1:5906 &
until [ -S /tmp/.X11-unix/X6 ]; do sleep 0.2; done
DISPLAY=:6 exec rviz2 -d config/manip.rviz
