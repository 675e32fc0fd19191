// One open question, wherever it is shown: what is asked for, and the answers.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import type { Answer, Approval } from "../api/types";
import { Failure } from "../parts/basics";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

// A right to read or list the disk says itself what is done; all others also depend on the arguments.
const SAYS_ALL = ["mcp://fs/read/", "mcp://fs/list/"];
const NAMES: Record<string, string> = { tool: "tool", shell: "program", fs: "path", api: "address", db: "table" };

export function Permission({ approval }: { approval: Approval }) {
  const queries = useQueryClient();
  const [reason, setReason] = useState("");
  const [any, setAny] = useState(false);
  const answer = useMutation({
    mutationFn: (given: Answer) => api<null>(at("approvals", approval.id), { method: "POST", body: given }),
    onSettled: () => Promise.all(["approvals", "refusals"].map((name) => queries.invalidateQueries({ queryKey: [name] }))),
  });
  const bound = !SAYS_ALL.some((start) => approval.resource_uri.startsWith(start));
  const what = bound && (NAMES[approval.resource_uri.split("/")[2] ?? ""] ?? "resource");
  const yes = (remember: Answer["remember"]) => answer.mutate({ allow: true, remember, any_arguments: any, reason: "" });
  const no = (remember: Answer["remember"]) => answer.mutate({ allow: false, remember, any_arguments: false, reason });
  return (
    <div className="question">
      <p>
        <strong>May it do this?</strong> It asks for <code>{visible(approval.resource_uri)}</code>
      </p>
      <p className="small">{visible(approval.reason)}</p>
      <p className="small">
        The question ends <Time at={approval.expires_at} />; unanswered means no.
      </p>
      <div className="answers">
        <button type="button" className="primary" disabled={answer.isPending} onClick={() => yes("once")}>
          Allow once
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => yes("session")}>
          Allow for this session
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => yes("always")}>
          Always allow
        </button>
        {what && (
          <label className="check">
            <input type="checkbox" checked={any} onChange={(event) => setAny(event.target.checked)} /> for any arguments {what === "tool" || what === "program" ? "of" : "on"} this {what}
          </label>
        )}
      </div>
      <p className="small">
        A yes is one to {what ? (any ? `this ${what}, whatever the arguments are` : "exactly these arguments") : "this resource"}.
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
