// One open question, wherever it is shown: what is asked for, and the answers.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import type { Answer, Approval } from "../api/types";
import { Failure } from "../parts/basics";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

export function Question({ approval }: { approval: Approval }) {
  const queries = useQueryClient();
  const [reason, setReason] = useState("");
  const answer = useMutation({
    mutationFn: (given: Answer) => api<null>(at("approvals", approval.id), { method: "POST", body: given }),
    onSettled: () => queries.invalidateQueries({ queryKey: ["approvals"] }),
  });
  const say = (allow: boolean, remember: Answer["remember"]) => answer.mutate({ allow, remember, reason });
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
        <button type="button" className="primary" disabled={answer.isPending} onClick={() => say(true, "once")}>
          Allow once
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => say(true, "session")}>
          Allow for this session
        </button>
        <button type="button" disabled={answer.isPending} onClick={() => say(true, "always")}>
          Always allow
        </button>
        <input
          aria-label="Reason, shown to the agent when denied"
          placeholder="Reason (shown to the agent when denied)"
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
        <button type="button" className="danger" disabled={answer.isPending} onClick={() => say(false, "once")}>
          Deny
        </button>
      </div>
      <Failure error={answer.error} />
    </div>
  );
}
