#!/bin/sh
# Proves on a card what the CPU can't: infra/gpu/check.sh DATA [PART...]
# DATA has aid150/ (a folder a class) and weights/, and beside it backbones/ (see benchmarks/quality.py).
# It needs torch, torchvision, numpy, safetensors and pillow, no Ray, and about ten minutes. The last line is JSON.
# Without a card it runs everything on the CPU, with few chips and steps: that shows that it works, and no figure.
set -eu
data=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD:$PWD/infra/gpu:$data/../backbones"
exec timeout "${CHECK_SECONDS:-1200}" "${PYTHON:-python3}" infra/gpu/check.py --data "$data" "$@"
