import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { api } from "../api/http";
import { agents } from "../api/queries";
import type { AgentRecord } from "../api/types";
import { Badge, Empty, Failure, Header, Id, More, type Tone } from "../parts/basics";
import { Time } from "../parts/time";

export const AGENT_TONES: Record<string, Tone> = { active: "ok", inactive: "plain", terminated: "plain", error: "bad" };

export function Agents() {
  const [stopped, setStopped] = useState(false);
  const list = useInfiniteQuery(agents(stopped));
  const items = list.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Header title="Agents" sub="Each starts with no rights at all and holds only what it was granted.">
        <label className="check">
          <input type="checkbox" checked={stopped} onChange={(event) => setStopped(event.target.checked)} /> show stopped
        </label>
        <Spawn />
      </Header>
      <Failure error={list.error} />
      {list.isSuccess && items.length === 0 && <Empty title="No agents. Start one above, or in a terminal:" command="umbrella agent spawn --name scout" />}
      {items.length > 0 && (
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">Agent</th>
              <th scope="col">Type</th>
              <th scope="col">State</th>
              <th scope="col" className="num">
                Rights
              </th>
              <th scope="col" className="num">
                Restarts
              </th>
              <th scope="col">Started</th>
              <th scope="col">Session</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.id}>
                <th scope="row">
                  <Link href={`/agents/${item.id}`}>{item.name || item.id.slice(0, 14)}</Link>
                </th>
                <td>{item.type}</td>
                <td>
                  <Badge tone={AGENT_TONES[item.state ?? "active"] ?? "plain"}>{item.state}</Badge>
                </td>
                <td className="num">{item.capabilities?.length ?? 0}</td>
                <td className="num">{item.restarts}</td>
                <td>
                  <Time at={item.started_at} />
                </td>
                <td>{item.session_id ? <Id value={item.session_id} /> : <span className="muted">none</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <More shown={list.hasNextPage} loading={list.isFetchingNextPage} onMore={() => void list.fetchNextPage()} />
    </>
  );
}

function Spawn() {
  const [name, setName] = useState("");
  const [, go] = useLocation();
  const queries = useQueryClient();
  const spawn = useMutation({
    mutationFn: () => api<AgentRecord>("/api/agents", { method: "POST", body: { name: name.trim() } }),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["agents"] });
      go(`/agents/${made.id}`);
    },
  });
  return (
    <form
      className="inline"
      onSubmit={(event) => {
        event.preventDefault();
        spawn.mutate();
      }}
    >
      <input aria-label="Name of the new agent" placeholder="Name (optional)" value={name} onChange={(event) => setName(event.target.value)} />
      <button type="submit" className="primary" disabled={spawn.isPending}>
        Spawn agent
      </button>
      <Failure error={spawn.error} />
    </form>
  );
}
