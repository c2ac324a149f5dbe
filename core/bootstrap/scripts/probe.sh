# Looks at a host and prints what it found: one fact a line, each behind the mark $N, which the caller set before this
# text. Runs in any POSIX sh; needs nothing but uname. Leaves no folder behind that was not there before.
say() { printf '%s %s\n' "$N" "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

libc() {
  words=$(getconf GNU_LIBC_VERSION 2>/dev/null)
  case $words in glibc*) say "libc $words"; return ;; esac
  # What this very shell runs on; a shell that brings its own says nothing.
  while read -r line; do
    case $line in
      */ld-musl-*) say "libc musl"; return ;;
      */libc.so.6 | */ld-linux*) say "libc glibc"; return ;;
    esac
  done </proc/self/maps
  for loader in /lib/ld-musl-*; do [ -e "$loader" ] && say "libc musl" && return; done
}

processor() {
  case $1 in
    Darwin)
      case " $(sysctl -n hw.optional.avx2_0 2>/dev/null)" in *1) say "avx2 yes" ;; esac
      say "cores $(sysctl -n hw.ncpu 2>/dev/null)"
      say "memory $(sysctl -n hw.memsize 2>/dev/null)" ;;
    *)
      cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null)
      while read -r key _ value rest; do
        case $key in flags) case " $value $rest " in *' avx2 '*) say "avx2 yes"; break ;; esac ;; esac
      done 2>/dev/null </proc/cpuinfo
      say "cores $cores"
      while read -r key value _; do
        case $key in MemTotal:) say "memory ${value}k" ;; MemAvailable:) say "available ${value}k" ;; esac
      done 2>/dev/null </proc/meminfo ;;
  esac
}

tools() {
  for tool in zstd gzip sha256sum shasum openssl cksum find df dd; do have "$tool" && say "tool $tool"; done
}

# Prints why a folder that is there is not for this user alone; nothing when it is.
distrust() {
  [ -L "$1" ] && echo "it is a symbolic link, which others may have laid" && return
  [ -d "$1" ] || { echo "it is no folder"; return; }
  listed=$(ls -ldn "$1" 2>/dev/null) || { echo "it cannot be looked at"; return; }
  read -r mode _ owner _ <<LISTED
$listed
LISTED
  if [ "$owner" != "$uid" ]; then echo "it belongs to user $owner"
  else case $mode in drwx------*) ;; *) echo "others may enter it ($mode): chmod 700 it" ;; esac
  fi
}

# What stops a file in this folder from being run.
trial() {
  file=$1/.try-$$
  tries=0
  # Another probe may remove the folder before anything is in it.
  until reason=$({ mkdir -p "$1" && printf '#!/bin/sh\nexit 7\n' >"$file"; } 2>&1); do
    tries=$((tries + 1))
    [ ! -d "$1" ] && [ "$tries" -lt 9 ] || { rm -f "$file"; echo "unwritable $reason"; return; }
  done
  chmod 700 "$file"
  "$file" >/dev/null 2>&1
  [ $? -eq 7 ] || echo "noexec programs may not be run from there"
  rm -f "$file"
}

binaries() {
  for binary in "$2"/bin/*/mesh; do
    [ -f "$binary" ] && [ ! -L "$binary" ] || continue
    folder=${binary%/mesh}
    state=doubtful
    if [ -f "$folder/stamp" ] && read -r stamped <"$folder/stamp"; then
      # The time of change (ctime) cannot be set back by whoever alters a file; not every find knows it.
      later=$(find "$binary" \( -newer "$folder/stamp" -o -cnewer "$folder/stamp" \) -print 2>/dev/null) ||
        later=$(find "$binary" -newer "$folder/stamp" -print 2>/dev/null || echo unknown)
      size=$(ls -ln "$binary" 2>/dev/null)
      set -- "$1" "$2" $size
      [ -z "$later" ] && [ "$stamped" = "$7" ] && [ -x "$binary" ] && state=whole
    fi
    say "binary $1 $state ${folder##*/}"
  done
}

# Number, folder, and "shared" when others may write beside it.
candidate() {
  case $2 in /*) ;; *) return ;; esac
  say "folder $1 $2"
  above=$2
  made=$2
  until [ -e "$above" ] || [ -L "$above" ]; do above=${above%/*}; above=${above:-/}; done
  if reason=$(mkdir -p "$2" 2>&1 || mkdir -p "$2" 2>&1); then
    case $3 in shared) reason=$(distrust "$2") ;; *) reason='' ;; esac
    if [ -n "$reason" ]; then say "bad $1 untrusted $reason"
    else
      reason=$(trial "$2")
      [ -z "$reason" ] || say "bad $1 $reason"
      # The line may be broken after a long device name where df does not know -P.
      free=$(df -Pk "$2" 2>/dev/null | { read -r _; read -r _ _ _ free _; printf '%s' "$free"; })
      [ -z "$free" ] || say "free $1 $free"
      binaries "$1" "$2"
    fi
  else say "bad $1 unwritable $reason"
  fi
  unmake
}

# Removes what the candidate at hand was tried with.
unmake() {
  [ -z "$made" ] || rm -f "$made/.try-$$"
  while [ "$made" != "$above" ] && rmdir "$made" 2>/dev/null; do made=${made%/*}; made=${made:-/}; done
  made='' above=''
}

# Whether systemd ends what a login has started with the last login of that user; never so of root's.
logins() {
  [ "$uid" != 0 ] && command -v busctl >/dev/null || return 0
  kills=$(busctl --timeout=2 get-property org.freedesktop.login1 /org/freedesktop/login1 \
    org.freedesktop.login1.Manager KillUserProcesses 2>/dev/null)
  [ "$kills" != 'b true' ] || [ -e "/var/lib/systemd/linger/$(id -un)" ] || say "ends-with-login yes"
}

main() {
  LC_ALL=C
  export LC_ALL
  umask 077
  made='' above=''
  # Who asked may be gone at any time: then nobody reads on.
  trap '' PIPE
  trap 'unmake; exit 143' HUP INT TERM
  printf '\n'
  system=$(uname -s 2>/dev/null)
  uid=$(id -u 2>/dev/null)
  say "probe 1"
  say "system $system"
  say "machine $(uname -m 2>/dev/null)"
  say "bits $(getconf LONG_BIT 2>/dev/null)"
  say "time $(date +%s 2>/dev/null)"
  say "uid $uid"
  say "user $(id -un 2>/dev/null)"
  say "home $HOME"
  [ "$system" != Linux ] || libc
  for folder in /lib /usr/lib /usr/local/lib; do [ -e "$folder/libstdc++.so.6" ] && say "libstdc++ yes"; done
  for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 /lib/ld-musl-*; do
    [ -e "$loader" ] && say "loader $loader"
  done
  processor "$system"
  tools
  logins
  case $XDG_CACHE_HOME in /*) candidate 0 "$XDG_CACHE_HOME/mesh" ;; *) candidate 0 "${HOME:-none}/.cache/mesh" ;; esac
  if [ -n "$uid" ]; then
    candidate 1 "/var/tmp/mesh-$uid" shared
    candidate 2 "/tmp/mesh-$uid" shared
  fi
  case $XDG_RUNTIME_DIR in /*) candidate 3 "$XDG_RUNTIME_DIR/mesh" ;; esac
  say end
}
main </dev/null 2>/dev/null
