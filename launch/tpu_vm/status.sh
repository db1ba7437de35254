#!/usr/bin/env bash
# Shows the requests of a zone, or the state of one and of its workers.
#
#   status.sh --zone ZONE [--name NAME] [--project PROJECT] [--dry-run]

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"
parse "$@"
need zone
if [[ -z ${opt[name]:-} ]]; then
  queue list
else
  mapfile -t options < <(where)
  queue describe "${opt[name]}" '--format=value(state.state)'
  call gcloud compute tpus tpu-vm describe "${opt[name]}" \
    '--format=value(state,health)' "${options[@]}"
fi
