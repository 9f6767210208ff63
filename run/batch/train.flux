#!/usr/bin/env bash
# Training of a reduced model under Flux by many jobs: this job chooses the geometries and submits PARTS jobs that solve a part
# of them each, and one that waits for them, solves what is missing, and makes the model.  The first and the last submit
# themselves again when they run out of time; what a part leaves is solved by the last.
#
#     flux batch run/batch/train.flux PARTS INPUT.toml --output results/train
#
# All arguments after PARTS go to `mpiqmd train`.  Adapt the flux lines and RANKS to each other; MPIQMD names the program if
# it is not the checkout's own, SCRIPT this file if it is not run/batch/train.flux of the folder it was submitted from.
#flux: --job-name=mpiqmd-train
#flux: --nodes=1
#flux: --nslots=16
#flux: --time-limit=4h
set -uo pipefail

usage="usage: flux batch run/batch/train.flux PARTS INPUT.toml [options of mpiqmd train]"
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
case " $* " in
    *" --overwrite "*) echo "--overwrite would remove what other jobs of the training have made; leave it out" >&2; exit 2 ;;
esac
stage="$1"
shift
case "$stage" in
    part) options=(--part "$1") && shift ;;
    whole) options=() ;;
    '' | 0* | *[!0-9]*) echo "$usage" >&2; exit 2 ;;
    *) options=(--samples-only) ;;
esac
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
mpiqmd="${MPIQMD:-$PWD/.venv/bin/mpiqmd}" script="${SCRIPT:-run/batch/train.flux}" ranks="${RANKS:-16}"

# Whole seconds that are left of the job when it starts.
left="$(flux job timeleft 2>/dev/null || true)"
case "${left%.*}" in
    '' | *[!0-9]*) ;;
    *) options+=(--walltime "${left%.*}") ;;
esac

status=0
flux run --ntasks="$ranks" "$mpiqmd" train "$@" ${options[@]+"${options[@]}"} || status=$?
if [ "$status" -eq 75 ]; then
    [ "$stage" != part ] || { echo "$(date): not finished, the last job solves what is left"; exit 0; }
    echo "$(date): not finished, submitting the job again"
    # To the instance that this job came from, not to the job's own.
    exec flux --parent batch "$script" "$stage" "$@"
fi
[ "$status" -eq 0 ] || exit "$status"
case "$stage" in
    part | whole) exit 0 ;;
esac
after=()
for ((part = 1; part <= stage; part++)); do
    job="$(flux --parent batch "$script" part "$part/$stage" "$@")" || exit
    after+=("--dependency=afterany:$job")
done
exec flux --parent batch "${after[@]}" "$script" whole "$@"
