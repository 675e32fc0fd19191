// Servers, what they offer, and a way to try it.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import { agents, servers, tools } from "../api/queries";
import type { CallOutcome, ServerStatus, ToolInfo } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Json, More, type Tone } from "../parts/basics";
import { resultText } from "../transcript/cards";
import { Changes } from "./changes";
import { parseObject, sample, serverSpec } from "./tool-input";

const STATES: Record<ServerStatus["state"], Tone> = { ready: "ok", connecting: "info", waiting: "warn", failed: "bad", stopped: "plain" };

export function Tools() {
  const known = useQuery(servers());
  const offered = useInfiniteQuery(tools());
  const [chosen, setChosen] = useState("");
  const list = offered.data?.pages.flatMap((page) => page.items) ?? [];
  const tool = list.find((item) => `${item.server}/${item.name}` === chosen);
  const items = known.data?.items ?? [];
  return (
    <>
      <Header title="Tools" sub="MCP servers, the state of their connections, and everything they offer." />
      <Failure error={known.error ?? offered.error} />
      <Changes />
      <section aria-labelledby="servers">
        <h2 id="servers">Servers</h2>
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">State</th>
              <th scope="col" className="num">
                Tools
              </th>
              <th scope="col">Reached by</th>
              <th scope="col">Protocol</th>
              <th scope="col" className="num">
                Restarts
              </th>
              <th scope="col">
                <span className="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <Server key={item.name} server={item} />
            ))}
          </tbody>
        </table>
        {known.isSuccess && items.every((item) => !item.spec) && (
          <Empty title="Only the built-in server is here. Add another below, or:" command="umbrella mcp add git -- uvx mcp-server-git" />
        )}
        <AddServer />
      </section>
      <section aria-labelledby="offered">
        <h2 id="offered">Tools</h2>
        <div className="split">
          <div>
            <ul className="tool-list">
              {list.map((item) => {
                const name = `${item.server}/${item.name}`;
                return (
                  <li key={name}>
                    <button type="button" aria-pressed={chosen === name} onClick={() => setChosen(name)}>
                      <span className="tool">
                        <span className="muted">{item.server}/</span>
                        {item.name}
                      </span>
                      {item.read_only ? <Badge tone="ok">read-only</Badge> : item.destructive ? <Badge tone="warn">may destroy</Badge> : <Badge>writes</Badge>}
                      <span className="about">{item.description}</span>
                    </button>
                  </li>
                );
              })}
            </ul>
            <More shown={offered.hasNextPage} loading={offered.isFetchingNextPage} onMore={() => void offered.fetchNextPage()} />
          </div>
          {tool ? <TryIt key={chosen} tool={tool} /> : <Empty title="Choose a tool to try it, or call one in a terminal:" command={'umbrella call fs list_directory --json \'{"path": "/tmp"}\''} />}
        </div>
      </section>
    </>
  );
}

function Server({ server }: { server: ServerStatus }) {
  const queries = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api<null>(at("servers", server.name), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries(),
  });
  const how = server.spec ? (server.spec.url ?? [server.spec.command, ...(server.spec.args ?? [])].join(" ")) : "built in";
  const confirmRemove = () => {
    if (window.confirm(`Disconnect and forget ${server.name}?`)) remove.mutate();
  };
  return (
    <tr>
      <th scope="row">{server.name}</th>
      <td>
        <Badge tone={STATES[server.state]}>{server.state}</Badge>
        {server.error && <div className="small bad-text">{server.error}</div>}
        <Failure error={remove.error} />
      </td>
      <td className="num">{server.tools}</td>
      <td className="uri">
        <code>{how}</code>
      </td>
      <td>{server.protocol}</td>
      <td className="num">{server.restarts}</td>
      <td>
        {server.spec && (
          <button type="button" className="danger small" disabled={remove.isPending} onClick={confirmRemove}>
            Remove
          </button>
        )}
      </td>
    </tr>
  );
}

function AddServer() {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [how, setHow] = useState("");
  const add = useMutation({
    mutationFn: () => api<ServerStatus>("/api/servers", { method: "POST", body: { name: name.trim(), spec: serverSpec(how) } }),
    onSuccess: () => {
      setName("");
      setHow("");
      return queries.invalidateQueries();
    },
  });
  return (
    <>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <Field label="New server's name">
          <input required placeholder="git" value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Command line or URL">
          <input required placeholder="uvx mcp-server-git, or https://…/mcp" spellCheck={false} value={how} onChange={(event) => setHow(event.target.value)} />
        </Field>
        <button type="submit" disabled={add.isPending || !name.trim() || !how.trim()}>
          {add.isPending ? "Connecting…" : "Add server"}
        </button>
      </form>
      <Failure error={add.error} />
    </>
  );
}

function TryIt({ tool }: { tool: ToolInfo }) {
  const [text, setText] = useState(() => JSON.stringify(sample(tool.parameters ?? {}), null, 2));
  const [asAgent, setAsAgent] = useState("");
  const all = useInfiniteQuery(agents(false));
  const parsed = parseObject(text, "Arguments");
  const call = useMutation({
    mutationFn: (values: Record<string, unknown>) =>
      api<CallOutcome>("/api/tools/call", {
        method: "POST",
        body: { server: tool.server, tool: tool.name, arguments: values, as_agent: asAgent || null },
      }),
  });
  const outcome = call.data;
  return (
    <div className="try">
      <h3>
        {tool.server}/{tool.name}
      </h3>
      <p>{tool.description}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (parsed.values) call.mutate(parsed.values);
        }}
      >
        <Field label="Arguments (JSON)">
          <textarea rows={Math.min(14, Math.max(4, text.split("\n").length))} spellCheck={false} className="mono" value={text} onChange={(event) => setText(event.target.value)} aria-invalid={!parsed.values} />
        </Field>
        {parsed.problem && <p className="small bad-text">{parsed.problem}</p>}
        <div className="row-form">
          <Field label="With the rights of">
            <select value={asAgent} onChange={(event) => setAsAgent(event.target.value)}>
              <option value="">me</option>
              {all.data?.pages.flatMap((page) => page.items).map((item) => (
                <option key={item.id} value={item.id}>
                  {item.name || item.id.slice(0, 14)}
                </option>
              ))}
            </select>
          </Field>
          <button type="submit" className="primary" disabled={!parsed.values || call.isPending}>
            {call.isPending ? "Running…" : "Call"}
          </button>
        </div>
      </form>
      <Failure error={call.error} />
      {outcome && (
        <div className="outcome" role="status">
          <p>
            <Badge tone={outcome.result.is_error ? "bad" : "ok"}>{outcome.result.is_error ? "tool reported an error" : "done"}</Badge>{" "}
            <span className="muted">{outcome.duration_ms.toFixed(0)} ms</span>
          </p>
          <Json value={resultText(outcome.result.content ?? []) || "no output"} label="result" />
        </div>
      )}
      <details>
        <summary>Schema</summary>
        <Json value={tool.parameters} label="schema" />
      </details>
    </div>
  );
}
