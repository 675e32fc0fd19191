// One agent: what it is, what it may do and why, and the ways to change that.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, at } from "../api/http";
import { agent, capabilities } from "../api/queries";
import type { AgentRecord, Capability, Explanation } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Id } from "../parts/basics";
import { Limits } from "../parts/limits";
import { Time } from "../parts/time";
import { visible } from "../parts/values";
import { AGENT_TONES } from "./agents";
import { Grant, HandOn } from "./grant";

export function AgentPage({ id }: { id: string }) {
  const one = useQuery(agent(id));
  const record = one.data;
  if (!record) {
    return (
      <>
        <Header title="Agent" />
        <Failure error={one.error} />
      </>
    );
  }
  const alive = record.state === "active";
  return (
    <>
      <Header
        title={record.name || "Unnamed agent"}
        sub={
          <>
            <Id value={record.id} />
            <Badge tone={AGENT_TONES[record.state ?? "active"] ?? "plain"}>{record.state}</Badge>
            <span>{record.type}</span>
          </>
        }
      >
        {alive && <StopButton record={record} />}
      </Header>
      <dl className="facts wide">
        <dt>Started</dt>
        <dd>
          <Time at={record.started_at} />
        </dd>
        <dt>Restarts</dt>
        <dd>{record.restarts}</dd>
        <dt>Session</dt>
        <dd>{record.session_id ? <Link href={`/sessions/${record.session_id}`}>{record.session_id}</Link> : "none"}</dd>
        {record.parent_id && (
          <>
            <dt>Parent</dt>
            <dd>
              <Link href={`/agents/${record.parent_id}`}>{record.parent_id}</Link>
            </dd>
          </>
        )}
      </dl>
      <Rights record={record} />
      {alive && <Grant record={record} />}
      {alive && <HandOn record={record} />}
      <Explain record={record} />
    </>
  );
}

function StopButton({ record }: { record: AgentRecord }) {
  const queries = useQueryClient();
  const stop = useMutation({
    mutationFn: () => api<null>(at("agents", record.id), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["agents"] }),
  });
  const confirmStop = () => {
    if (window.confirm("Stop this agent? Its rights end with it, and everything derived from them.")) stop.mutate();
  };
  return (
    <>
      <Failure error={stop.error} />
      <button type="button" className="danger" disabled={stop.isPending} onClick={confirmStop}>
        Stop agent
      </button>
    </>
  );
}

function Rights({ record }: { record: AgentRecord }) {
  const held = useQuery(capabilities(record.id));
  const items = held.data?.items ?? [];
  return (
    <section aria-labelledby="rights">
      <h2 id="rights">Rights</h2>
      <Failure error={held.error} />
      {held.isSuccess && items.length === 0 && (
        <Empty
          title="It holds nothing, so every call of its is denied. Grant a right below, or:"
          command={`umbrella grant ${record.name || record.id} mcp://fs/read/home/me/**`}
        />
      )}
      {items.length > 0 && (
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">Resource</th>
              <th scope="col">Granted</th>
              <th scope="col">Expires</th>
              <th scope="col">Limits</th>
              <th scope="col">Id</th>
              <th scope="col">
                <span className="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <Right key={item.id} capability={item} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Right({ capability }: { capability: Capability }) {
  const queries = useQueryClient();
  const revoke = useMutation({
    mutationFn: () => api<null>(at("capabilities", capability.id), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["capabilities"] }),
  });
  return (
    <tr>
      <th scope="row">
        <code>{visible(capability.resource_uri)}</code>
        <Failure error={revoke.error} />
      </th>
      <td>
        <Time at={capability.granted_at} />
      </td>
      <td>{capability.expires_at ? <Time at={capability.expires_at} /> : "never"}</td>
      <td>
        <Limits values={capability.constraints ?? {}} />
      </td>
      <td>
        <Id value={capability.id} />
      </td>
      <td>
        <button type="button" className="danger small" disabled={revoke.isPending} onClick={() => revoke.mutate()}>
          Revoke
        </button>
      </td>
    </tr>
  );
}

function Explain({ record }: { record: AgentRecord }) {
  const [uri, setUri] = useState("");
  const why = useMutation({
    mutationFn: () => api<Explanation>("/api/capabilities/explain", { query: { principal: record.id, resource_uri: uri.trim() } }),
  });
  const verdict = why.data?.verdict;
  return (
    <section aria-labelledby="explain">
      <h2 id="explain">May it?</h2>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          why.mutate();
        }}
      >
        <Field label="Resource to explain">
          <input required placeholder="mcp://tool/execute/git/git_log" spellCheck={false} value={uri} onChange={(event) => setUri(event.target.value)} />
        </Field>
        <button type="submit" disabled={why.isPending || !uri.trim()}>
          Explain
        </button>
      </form>
      <Failure error={why.error} />
      {verdict && (
        <div className={`notice ${verdict.allowed ? "ok" : "bad"}`} role="status">
          <p>
            <strong>{verdict.allowed ? "Yes." : "No."}</strong> {verdict.message}
          </p>
          {verdict.needed && (
            <p className="remedy">
              <code>
                umbrella grant {record.name || record.id} {verdict.needed}
              </code>
            </p>
          )}
        </div>
      )}
    </section>
  );
}
