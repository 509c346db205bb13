# SPDX-License-Identifier: MIT
"""test/tools/run-fuzz, with programs in the place of fuzz targets: the end of what it prints tells what failed and by what."""
import base64

from harness import ROOT, run

QUIET = "echo '###### Recommended dictionary. ######'; echo advice; echo '###### End of recommended dictionary. ######'"
CRASH = r"""
for argument; do case $argument in -artifact_prefix=*) prefix=${argument#*=} ;; esac; done
printf 'a\000b' >"${prefix}crash-1"
seq 1000
echo '==7==ERROR: AddressSanitizer: heap-buffer-overflow on address'
echo '    #0 0x1 in px_thing lib/thing.c:7'
echo 'SUMMARY: AddressSanitizer: heap-buffer-overflow lib/thing.c:7'
exit 77
"""


def fuzz(folder, targets):
    (folder / "test" / "fuzz").mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "test" / "fuzz").glob("fuzz_*.c"):
        target = folder / "test" / "fuzz" / source.stem
        target.write_text("#!/bin/sh\n%s\n" % targets.get(source.stem, QUIET))
        target.chmod(0o755)
    return run([ROOT / "test" / "tools" / "run-fuzz", folder, "1"], {"PATH": "/usr/bin:/bin"}).out


def test_fuzz_runs_that_find_nothing_print_a_line_each(tmp_path):
    lines = fuzz(tmp_path, {}).splitlines()
    assert lines == ["== " + source.stem for source in sorted((ROOT / "test" / "fuzz").glob("fuzz_*.c"))]


def test_the_end_of_a_fuzz_run_tells_all_of_a_failure(tmp_path):
    last = fuzz(tmp_path, {"fuzz_reply": CRASH, "fuzz_event": "exit 1"}).splitlines()[-20:]
    assert last[-1] == "failed: event reply"
    assert "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address" in last
    assert "    #0 0x1 in px_thing lib/thing.c:7" in last
    assert last[last.index("base64 -d >crash-1 <<END") + 1] == base64.b64encode(b"a\0b").decode()


def test_what_a_fuzz_run_found_before_is_not_told_again(tmp_path):
    fuzz(tmp_path, {"fuzz_reply": CRASH})
    assert fuzz(tmp_path, {"fuzz_reply": "exit 1"}).find("base64") == -1
