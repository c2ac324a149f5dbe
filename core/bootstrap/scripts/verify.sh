# Looks at the content of a binary that may have been changed since it was put there, and says "whole" or "damaged".
# Set before: N the mark, FOLDER, SHA256, CKSUM, SIZE.
main() {
  if [ "$(size_of "$FOLDER/mesh")" = "$SIZE" ] && is_whole "$FOLDER/mesh"; then
    chmod 700 "$FOLDER/mesh" && put_stamp "$FOLDER"
    say whole
  else say damaged
  fi
}
main </dev/null 2>/dev/null
