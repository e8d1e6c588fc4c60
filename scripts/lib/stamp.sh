# shellcheck shell=bash
# A finished folder of the cache is complete or absent, and checked before each use.
#
# `stamp` holds the recipe (what it was made from) and the sha256 of every file. A folder with another recipe, or with a
# missing or changed file, counts as absent and is made again. Sourced after common.sh.

# stamp_write FOLDER RECIPE: the last step of a build, before the folder gets its final name.
stamp_write() {
  local folder=$1 recipe=$2
  (
    cd -- "$folder"
    find . -type f -print0 | sort -z | xargs -0 -r sha256sum >../sums.$$
    mv -- ../sums.$$ files.sha256
    printf '%s\n' "$(sha256_of_text "$recipe")" >stamp
  )
}

# stamp_ok FOLDER RECIPE: succeeds if FOLDER is complete, unchanged, and made by RECIPE.
stamp_ok() {
  local folder=$1 recipe=$2
  [ -f "$folder/stamp" ] && [ -s "$folder/files.sha256" ] || return 1
  [ "$(cat -- "$folder/stamp")" = "$(sha256_of_text "$recipe")" ] || return 1
  (cd -- "$folder" && sha256sum --quiet --status -c files.sha256 2>/dev/null)
}

# stamped FOLDER RECIPE BUILD…: makes FOLDER with `BUILD… TEMP`, unless a valid one is there; ends the script if that
# fails. Call it under a lock: the temporary folder has a fixed name, so that the next run removes what an
# interrupted one left. Never call it in a condition (`stamped … || …`): `set -e` would be off in BUILD.
stamped() {
  local folder=$1 recipe=$2 temp status
  shift 2
  if stamp_ok "$folder" "$recipe"; then return 0; fi
  if [ -e "$folder" ]; then
    say "    ${folder##*/}: the folder is damaged or has another recipe; making it again"
  fi
  temp=$PEERS_DIR/tmp/${folder##*/}
  remove_tree "$temp"
  mkdir -p "$temp"
  set +e
  (
    set -e
    "$@" "$temp"
    stamp_write "$temp" "$recipe"
  )
  status=$?
  set -e
  [ "$status" = 0 ] || die "could not make \`${folder##*/}\`" "logs are in $PEERS_DIR/logs"
  remove_tree "$folder"
  mkdir -p "$(dirname -- "$folder")"
  mv -T -- "$temp" "$folder"
}

# Go's module cache is read-only; a plain `rm -rf` of one fails for a user that is not root.
remove_tree() {
  [ -e "$1" ] || return 0
  chmod -R u+w -- "$1" 2>/dev/null || true
  rm -rf -- "$1"
}
