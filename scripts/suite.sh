#!/bin/sh
# Runs the fast tests with the Python $1 in $2 processes, a file at a time. What fails beside other tests is run once more, alone.
set -u
python=$1 workers=$2
shift 2
export OMP_NUM_THREADS=1
"$python" -m pytest -n "$workers" --dist loadfile --no-loadscope-reorder "$@"
code=$?
[ "$code" = 1 ] || exit "$code"
echo "what failed beside other tests, once more and alone:"
exec "$python" -m pytest --last-failed --last-failed-no-failures none "$@"
