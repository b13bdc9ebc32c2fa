#!/bin/bash
# Runs inside the build root: builds the kernel's selftests into /w/out.
#   build.sh SOURCE.tar.xz DIRECTORY...
# For each directory below tools/testing/selftests the programs go to /w/out/suites/NAME, with the
# list .tests that names what its makefile calls a test: `P program arguments`. Links are static
# where the program allows it; what does not gets its loader and libraries in /w/out/lib.
set -eu
source=$1
shift
out=/w/out
linux=/w/linux
mkdir -p "$out/base" "$out/suites" "$out/log"

if [ ! -e "$linux/.headers" ]; then
    rm -rf "$linux"
    mkdir -p "$linux"
    # Drivers, documentation and the like are most of the source, and no test needs them.
    tar -xf "$source" -C "$linux" --strip-components=1 --exclude='*/Documentation' \
        --exclude='linux-*/drivers' --exclude='linux-*/sound' --exclude='linux-*/fs' --exclude='linux-*/net' \
        --exclude='linux-*/crypto' --exclude='linux-*/rust' --exclude='*/tools/perf'
    make -C "$linux" -j"$(nproc)" headers >"$out/log/headers" 2>&1
    touch "$linux/.headers"
fi

# A compiler that links statically where that works.
cat >/usr/local/bin/static-cc <<'CC'
#!/bin/bash
for word in "$@"; do
    case $word in -shared | -c | -E | -S | -M | -MM | -r | -static* | -pie | -nostdlib | -print* | --version | -dump* | -v | -) exec gcc "$@" ;; esac
done
words=()
for word in "$@"; do case $word in -fsanitize*) ;; *) words+=("$word") ;; esac; done
errors=$(mktemp)
if gcc "${words[@]}" -static 2>"$errors"; then
    cat "$errors" >&2
    rm -f "$errors"
    exit 0
fi
rm -f "$errors"
exec gcc "${words[@]}"
CC
chmod +x /usr/local/bin/static-cc

cat >/w/list.mk <<'MK'
list-of-tests:
	@for f in $(TEST_GEN_PROGS) $(TEST_CUSTOM_PROGS); do echo "P $$f"; done
	@for f in $(TEST_PROGS); do echo "S $$f"; done
	@for f in $(TEST_GEN_PROGS_EXTENDED) $(TEST_GEN_FILES) $(TEST_PROGS_EXTENDED) $(TEST_FILES) $(TEST_INCLUDES); do echo "X $$f"; done
MK

# What a test needs beside itself, and the tests by name.
collect() { # DIRECTORY TARGET
    local directory=$1 target=$2 kind file name
    (cd "$directory" && make -s -f Makefile -f /w/list.mk CC=static-cc KHDR_INCLUDES="-isystem $linux/usr/include" \
        list-of-tests 2>/dev/null) | grep -E '^[PSX] ' | while read -r kind file; do
        case $file in "$directory"/*) name=${file#"$directory"/} ;; /* | ../*) name=$(basename "$file") ;; *) name=$file ;; esac
        [ -e "$directory/$name" ] && file=$directory/$name
        [ -e "$file" ] || continue
        mkdir -p "$target/$(dirname "$name")"
        cp -aL "$file" "$target/$name" || continue
        if [ "$(head -c 4 "$target/$name" | tail -c 3)" = ELF ]; then
            strip --strip-debug "$target/$name" 2>/dev/null || :
            [ "$kind" = X ] || echo "P $name"
        fi
    done >"$target/.tests"
}

for suite in "$@"; do
    directory=$linux/tools/testing/selftests/$suite
    name=${suite//\//-}
    target=$out/suites/$name
    rm -rf "$target"
    mkdir -p "$target"
    (cd "$directory" && timeout 900 make -k -j"$(nproc)" CC=static-cc KHDR_INCLUDES="-isystem $linux/usr/include" all) \
        >"$out/log/$name" 2>&1 || : # some programs of a suite may not build: only those are missing
    collect "$directory" "$target"
done

gcc -O2 -static -s -w -o "$out/base/testrun" /w/testrun.c
cp /usr/bin/busybox "$out/base/busybox"
cp /usr/bin/bash-static "$out/base/bash"
find "$out/suites" -type f -perm -u+x | while read -r program; do
    [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
    ldd "$program" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' || :
done | sort -u | while read -r library; do
    mkdir -p "$out/lib$(dirname "$library")"
    cp -L "$library" "$out/lib$library"
done
find "$out/suites" -name '*.so' -exec sh -c 'mkdir -p "$1" && cp "$2" "$1"' sh "$out/lib/usr/lib/x86_64-linux-gnu" {} \;
touch "$out/.done"
