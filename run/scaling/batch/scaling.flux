#!/usr/bin/env bash
# Scaling study over node counts in one Flux allocation; set queue, bank and the number of cores of a node.
#
#     flux batch --nodes 16 run/scaling/batch/scaling.flux
#
#flux: --job-name=mpiqmd-scaling
#flux: --nodes=16
#flux: --exclusive
#flux: --time-limit=1h
#flux: --output=mpiqmd-scaling-{{id}}.out
set -euo pipefail

per_node="${RANKS_PER_NODE:-$(env -u OMP_NUM_THREADS nproc)}"
all_nodes="$(flux resource list --states all --no-header --format '{nnodes}' | head -n 1)"
ranks=()
for ((nodes = 1; nodes <= all_nodes; nodes *= 2)); do ranks+=($((nodes * per_node))); done

.venv/bin/python -m run.scaling.scaling --ranks "${ranks[@]}" --ranks-per-node "$per_node" --clock wall \
    --strong "${STRONG:-256}" --weak "${WEAK:-32}" --studies strong weak \
    --launcher "flux run --nodes {nodes} --ntasks {ranks}" --output "results/scaling-$(date +%Y%m%d-%H%M%S)"
