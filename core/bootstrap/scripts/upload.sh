# Takes a binary from its input, checks it, and puts it in place as a whole or not at all. Says "ready", or "failed", why in
# one word, and the words of the tool that failed. Set before: N the mark, CACHE, SHA256, CKSUM, SIZE, PACKED ("gzip", "zstd", "no").
leave() {
  rm -f "$part"
  rmdir "$folder" "$CACHE/bin" "$CACHE" 2>/dev/null
  exit "$1"
}

failed() {
  say failed "$1" $2
  leave 1
}

unpack() {
  case $PACKED in gzip) gzip -dc ;; zstd) zstd -dcq ;; *) cat ;; esac
}

# What uploads that were killed have left. One that is under way writes into its file all the time.
remove_leftovers() {
  find "$CACHE/bin" -type f \( -name '.part-*' -o -name '.stamp-*' \) -mmin +60 -exec rm -f '{}' ';' 2>/dev/null
}

# Builds that nobody has put here for a month. Who runs one goes on: Linux keeps a file that is in use.
remove_old() {
  [ -e /proc/self/exe ] || return 0
  find "$CACHE/bin" -name stamp -mtime +30 2>/dev/null | while read -r old; do
    case $old in */"$SHA256"/stamp) ;; *) rm -rf "${old%/stamp}" ;; esac
  done
}

main() {
  LC_ALL=C
  export LC_ALL
  umask 077
  folder=$CACHE/bin/$SHA256
  part=$folder/.part-$$-$RANDOM_WORD
  # Whoever sends may be gone before the end: what is left of that must go, though nobody hears of it.
  trap '' PIPE
  trap 'leave 143' HUP INT TERM
  # Twice: a probe of somebody else may remove what is empty of it in between.
  words=$(mkdir -p "$folder" 2>&1 || mkdir -p "$folder" 2>&1) || failed storage "$words"
  remove_leftovers
  words=$({ unpack >"$part"; } 2>&1)
  status=$?
  if [ "$(size_of "$part")" != "$SIZE" ]; then
    case $words in
      *[Nn]o*space* | *[Qq]uota* | *[Ff]ile*too*large* | *annot*create* | *ead-only*) failed storage "$words" ;;
      *) failed cut "$words" ;;
    esac
  fi
  [ "$status" -eq 0 ] || failed cut "$words"
  is_whole "$part" || failed altered "$found"
  words=$(chmod 700 "$part" 2>&1) || failed storage "$words"
  words=$("$part" version --json 2>&1 </dev/null)
  status=$?
  case $status in
    0) ;;
    126) failed noexec "$words" ;;
    *) failed unfit "status $status $words" ;;
  esac
  words=$(mv -f "$part" "$folder/mesh" 2>&1) || failed storage "$words"
  put_stamp "$folder" || say unstamped
  remove_old
  say ready
}
main
