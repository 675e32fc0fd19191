"""A small stdio server of the older era, written against the wire alone, with one bad habit each.

Usage: raw_server.py HABIT [FILE]
"""

import json
import os
import sys
import time
from pathlib import Path

TOOL = {"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}


def say(message: dict[str, object]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def main() -> None:
    habit = sys.argv[1]
    tools = [TOOL]
    if habit == "huge":
        tools = [TOOL, {**TOOL, "name": "huge", "inputSchema": {"type": "object", "title": "x" * 300_000}}]
    if habit == "says":
        tools = [{**TOOL, "description": Path(sys.argv[2]).read_text()}]
    if habit == "garbage":
        print("Welcome to my server!\n\n{not json", flush=True)
    if habit == "flood":
        sys.stdout.write("x" * (40 * 1024 * 1024))
        sys.stdout.flush()
    for line in sys.stdin:
        message = json.loads(line)
        method, request = message.get("method"), message.get("id")
        if habit == "silent" or request is None:
            continue
        if method == "initialize":
            capabilities = {"tools": {"listChanged": True}} if habit != "toolless" else {}
            info = {"name": "raw", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}
            if habit == "tells":
                result["instructions"] = f"connected with {os.environ['TOK']}"
            say({"id": request, "result": result})
        elif method == "tools/list" and habit == "endless":
            time.sleep(0.001)
            cursor = str(int((message.get("params") or {}).get("cursor") or 0) + 1)
            say({"id": request, "result": {"tools": [{**TOOL, "name": f"t{cursor}"}], "nextCursor": cursor}})
        elif method == "tools/list":
            say({"id": request, "result": {"tools": tools}})
        elif method == "tools/call":
            arguments = message["params"].get("arguments") or {}
            if habit == "stuck":
                time.sleep(3600)
            if habit == "garbage":
                print("debug: about to answer", flush=True)
            if habit == "count":
                with Path(sys.argv[2]).open("a") as file:
                    file.write("called\n")
            if habit == "says":
                with Path(sys.argv[2]).with_suffix(".calls").open("a") as file:
                    file.write(f"{arguments['text']}\n")
            if habit == "grow":
                tools = [*tools, {**TOOL, "name": f"more{len(tools)}"}]
                say({"method": "notifications/tools/list_changed"})
            if habit == "nonsense":
                say({"id": request, "result": {"content": "this is not a list"}})
                continue
            if habit == "refuse":
                say({"id": request, "error": {"code": -32050, "message": "not today", "data": {"a": 1}}})
                continue
            text = str(arguments.get("text", ""))
            if habit == "tells" and text == "fail":
                said = f"upstream 401 for key {os.environ['TOK']}"
                say({"id": request, "error": {"code": -32000, "message": said}})
                continue
            if habit == "tells":
                secret = os.environ["TOK"]
                say(
                    {"method": "notifications/message", "params": {"level": "info", "data": f"with {secret}"}}
                )
                token = message["params"]["_meta"]["progressToken"]
                said = {"progressToken": token, "progress": 1, "total": 2, "message": f"using {secret}"}
                say({"method": "notifications/progress", "params": said})
                text = f"done with {secret}"
            say({"id": request, "result": {"content": [{"type": "text", "text": text}], "isError": False}})
        else:
            say({"id": request, "error": {"code": -32601, "message": "Method not found"}})


main()
