#!/usr/bin/env bash
# Molecular dynamics under Flux that outlives its wall time: the job ends itself with a checkpoint shortly before it would be
# killed and submits itself again until the run is finished.  To end the chain: touch the file STOP in the output folder.
#
#     flux batch run/batch/md.flux INPUT.toml --model model.h5 --output results/long
#
# All arguments go to `mpiqmd md`.  Adapt the flux lines and RANKS to each other; MPIQMD names the program if it is not
# the checkout's own, SCRIPT this file if it is not run/batch/md.flux of the folder it was submitted from.
#flux: --job-name=mpiqmd
#flux: --nodes=1
#flux: --nslots=16
#flux: --time-limit=4h
set -uo pipefail

[ $# -ge 1 ] || { echo "usage: flux batch run/batch/md.flux INPUT.toml [options of mpiqmd md]" >&2; exit 2; }
case " $* " in
    *" --overwrite "*) echo "--overwrite would start afresh with every job of the chain; leave it out" >&2; exit 2 ;;
esac
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
mpiqmd="${MPIQMD:-$PWD/.venv/bin/mpiqmd}" ranks="${RANKS:-16}"

# Whole seconds that are left of the job when it starts.
left="$(flux job timeleft 2>/dev/null || true)" walltime=()
case "${left%.*}" in
    '' | *[!0-9]*) ;;
    *) walltime=(--walltime "${left%.*}") ;;
esac

status=0
flux run --ntasks="$ranks" "$mpiqmd" md "$@" ${walltime[@]+"${walltime[@]}"} || status=$?
if [ "$status" -eq 75 ]; then
    echo "$(date): not finished, submitting the job again"
    # To the instance that this job came from, not to the job's own.
    exec flux --parent batch "${SCRIPT:-run/batch/md.flux}" "$@"
fi
exit "$status"
