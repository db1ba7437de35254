#!/usr/bin/env bash
# Queues a TPU, waits for it, and holds it; deletes it when this script ends.
#
#   create.sh --name NAME --zone ZONE --accelerator-type TYPE \
#     --runtime-version VERSION --max-hours N [--project PROJECT] \
#     [--on-demand] [--keep] [--dry-run]
#
# It ends after N hours, by Ctrl-C or SIGTERM, or when the request fails. Spot
# unless --on-demand. With --keep it ends when the TPU is there, and deletes
# nothing: you pay until you call delete.sh. For a run that is queued again
# when it is preempted, see run.sh, which needs none of the others.

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"
takes+=(accelerator-type runtime-version max-hours)
flags+=(on-demand keep)
parse "$@"
need name zone accelerator-type runtime-version
need_number max-hours 1

trap 'exit 130' INT
trap 'exit "$saved"' TERM
trap delete EXIT
create
await || {
  say "${opt[name]} did not come"
  exit 1
}
if [[ -n ${opt[keep]:-} ]]; then
  trap - EXIT
  say "${opt[name]} stays; delete.sh --name ${opt[name]} ends what it costs"
elif [[ -z ${opt[dry-run]:-} ]]; then
  say "${opt[name]} is held for ${opt[max-hours]} h; Ctrl-C deletes it"
  nap "$(seconds_left)"
fi
