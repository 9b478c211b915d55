#!/usr/bin/env bash
# The first half hour on a GPU: measures what was predicted, into one JSON and one page.
#
#   tools/gpu_session.sh                              # everything, into runs/gpu_session
#   tools/gpu_session.sh --parts step_bfloat16_5      # a part by name; --list names them
#   tools/gpu_session.sh --out DIR --data_dir FOLDER  # elsewhere; a short training on CIFAR-10
#
# The same command goes on with what is not done. PYTHON names the interpreter (default: .venv's,
# else python3) of an environment with requirements-cuda.txt; torch in it is optional.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
exec "$PYTHON" -m benchmarks.session "$@"
