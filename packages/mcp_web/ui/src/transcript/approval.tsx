// One open question, wherever it is shown: what is asked for, and the answers.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import type { Answer, Approval } from "../api/types";
import { Failure } from "../parts/basics";
import { Time } from "../parts/time";
import { visible } from "../parts/values";
import { About } from "./about";

// A right to read or list the disk says itself what is done; all others also depend on the arguments.
const SAYS_ALL = ["mcp://fs/read/", "mcp://fs/list/"];
const ENDS = [
  ["", "as the answer says"],
  ["3600", "after an hour"],
  ["28800", "after 8 hours"],
  ["604800", "after 7 days"],
] as const;
const NAMES: Record<string, string> = { tool: "tool", shell: "program", fs: "path", api: "address", db: "table" };

export function Permission({ approval }: { approval: Approval }) {
  const queries = useQueryClient();
  const [reason, setReason] = useState("");
  const [any, setAny] = useState(false);
  const [pattern, setPattern] = useState("");
  const [ends, setEnds] = useState("");
  const answer = useMutation({
    mutationFn: (given: Answer) => api<null>(at("approvals", approval.id), { method: "POST", body: given }),
    onSettled: () => Promise.all(["approvals", "refusals"].map((name) => queries.invalidateQueries({ queryKey: [name] }))),
  });
  const bound = !SAYS_ALL.some((start) => approval.resource_uri.startsWith(start));
  const what = bound && (NAMES[approval.resource_uri.split("/")[2] ?? ""] ?? "resource");
  const wider = (approval.suggestions ?? []).filter((uri) => uri !== approval.resource_uri);
  const yes = (remember: Answer["remember"]) =>
    answer.mutate({
      allow: true,
      remember,
      any_arguments: any && !pattern,
      reason: "",
      resource_uri: remember === "once" ? "" : pattern,
      expires_in_s: remember === "once" || !ends ? null : Number(ends),
    });
  const no = (remember: Answer["remember"]) => answer.mutate({ allow: false, remember, any_arguments: false, reason, resource_uri: "" });
  return (
    <div className="question">
      <About approval={approval} />
      <p className="small">{visible(approval.reason)}</p>
      <p className="small">
        The question ends <Time at={approval.expires_at} />; unanswered means no.
      </p>
      <div className="answers">
        <button type="button" className="primary" disabled={answer.isPending || pattern !== ""} onClick={() => yes("once")}>
          Allow once
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => yes("session")}>
          Allow for this session
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => yes("always")}>
          Always allow
        </button>
        {what && !pattern && (
          <label className="check">
            <input type="checkbox" checked={any} onChange={(event) => setAny(event.target.checked)} /> for any arguments {what === "tool" || what === "program" ? "of" : "on"} this {what}
          </label>
        )}
      </div>
      <div className="answers">
        {wider.length > 0 && (
          <label>
            A yes that is remembered is for{" "}
            <select value={pattern} onChange={(event) => setPattern(event.target.value)}>
              <option value="">only what it asks for</option>
              {wider.map((uri) => (
                <option key={uri} value={uri}>
                  all of {visible(uri)}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          and ends{" "}
          <select value={ends} onChange={(event) => setEnds(event.target.value)}>
            {ENDS.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <p className="small">
        A yes is one to {pattern ? `whatever is done in ${visible(pattern)}, for this session or always` : what ? (any ? `this ${what}, whatever the arguments are` : "exactly these arguments") : "this resource"}.
      </p>
      <div className="answers">
        <input
          aria-label="Reason, shown to the agent when denied"
          placeholder="Reason (shown to the agent when denied)"
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
        <button type="button" className="danger" disabled={answer.isPending} onClick={() => no("once")}>
          Deny
        </button>
        <button type="button" className="danger" disabled={answer.isPending} title="Deny, and refuse this very call to all your agents from now on" onClick={() => no("always")}>
          Never
        </button>
      </div>
      <Failure error={answer.error} />
    </div>
  );
}
