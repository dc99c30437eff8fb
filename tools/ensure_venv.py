"""Makes .venv and installs into it, once however many `make`s start together, and again only when what is wanted has changed.

Run by `make` with any Python 3 that it finds: standard library only, and readable by an old Python, so that it can say so.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, ".installed")
LOCKS = [os.path.join("locks", name) for name in ("build.txt", "dev.txt")]
"""In this order: what builds comes first."""
WANTED = ["pyproject.toml", os.path.join("tools", "ensure_venv.py")] + LOCKS
SPEEDUPS = "speedups"
SPEEDUPS_STAMP = os.path.join(VENV, ".speedups")
SPEEDUPS_FILES = [os.path.join(SPEEDUPS, name) for name in ("pyproject.toml", "budget_engine_speedups.c")]


def main():
    """Answers the exit status."""
    if sys.version_info < (3, 11):
        return complain(
            "Python 3.11 or newer is needed, %s is %s: install one, or run `make PYTHON=/path/to/python3.11`"
            % (sys.executable, sys.version.split()[0])
        )
    import fcntl

    with open(os.path.join(ROOT, ".install.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make that installs into .venv", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint(WANTED)
        if (read(STAMP) != wanted or not works()) and install(wanted) != 0:
            return 1
        speed_up()
        return 0


def fingerprint(names):
    """What the environment is made from: the files, this Python, and the place (a moved .venv does not work)."""
    digest = hashlib.sha256(repr((sys.version, sys.prefix, ROOT)).encode())
    for name in names:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def works():
    """Whether its Python still runs: the one it was made with may be gone."""
    try:
        return subprocess.call([python(), "-c", "import redis, click"], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def install(wanted):
    """Makes the environment anew."""
    print("installing into .venv: about a minute, only when pyproject.toml or locks/ has changed", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        said = " ".join(made.stdout.decode(errors="replace").split())
        return complain(
            "`python3 -m venv` does not work here (on Debian and Ubuntu: apt-get install python3-venv). It said: "
            + said
        )
    for words in steps():
        if subprocess.call([python(), "-m", "pip", "install", "--quiet"] + words, cwd=ROOT, env=environment()) != 0:
            return complain("the installation failed: see pip's last lines above")
    with open(STAMP, "w") as file:
        file.write(wanted)
    return 0


def speed_up():
    """Builds and installs the client's compiled steps where C can be compiled. Only speed is missing without them, so this never fails; each outcome is
    said once."""
    files = fingerprint(SPEEDUPS_FILES)
    found = cannot_compile()
    wanted = files + found
    if read(SPEEDUPS_STAMP) == wanted:
        return
    if found:
        print("without the compiled speedups, which are optional: " + found, flush=True)
    else:
        said = build_speedups()
        if said:
            print("without the compiled speedups, which are optional; building them failed: " + said, flush=True)
    with open(SPEEDUPS_STAMP, "w") as file:
        file.write(wanted)


def cannot_compile():
    """What is missing to compile C for this Python, and what to do; nothing where all is there."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return "there is no C compiler %s (on Debian and Ubuntu: apt-get install gcc libc6-dev python3-dev)" % compiler
    if not os.path.isfile(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        return "there is no Python.h of this Python (on Debian and Ubuntu: apt-get install python3-dev)"
    return ""


def build_speedups():
    """Answers pip's last line where it failed. It builds in a copy, so that the checkout stays clean."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, SPEEDUPS)
        shutil.copytree(os.path.join(ROOT, SPEEDUPS), copy)
        words = ["--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall", copy]
        done = subprocess.run(
            [python(), "-m", "pip", "install"] + words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or ["pip said nothing"])[-1]


def steps():
    """What pip is given, in turn. Every file that it fetches must have a digest of the locks; building fetches nothing; and the project itself, which
    can have no digest, brings nothing along."""
    locked = [["--require-hashes", "--no-build-isolation", "--requirement", lock] for lock in LOCKS]
    return locked + [["--no-deps", "--no-build-isolation", "--editable", "."]]


def environment():
    """Ours, without what a person's settings of pip would add to the locks or ask of the project."""
    taken = (
        "PIP_CONSTRAINT",
        "PIP_REQUIRE_HASHES",
        "PIP_REQUIREMENT",
        "PIP_NO_DEPS",
        "PIP_EDITABLE",
        "PIP_TARGET",
        "PIP_USER",
    )
    kept = dict((name, value) for name, value in os.environ.items() if name not in taken)
    # Empty, it puts aside a constraint of pip's own configuration too.
    return dict(kept, PIP_CONSTRAINT="", PIP_DISABLE_PIP_VERSION_CHECK="1")


def python():
    """The environment's own."""
    return os.path.join(VENV, "bin", "python")


def read(path):
    """A small file's text, or nothing."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def complain(text):
    """One line on stderr; answers the exit status of failure."""
    sys.stderr.write("make: " + text + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
