// MCP servers: how each is doing, what it offers, what its process got of the machine.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import { servers } from "../api/queries";
import type { LoginPage, ServerStatus } from "../api/types";
import { Badge, Empty, Failure, Field, Header, type Tone } from "../parts/basics";
import { actions, column, number, Table } from "../parts/table";
import { visible } from "../parts/values";
import { serverSpec } from "./tool-input";

const STATES: Record<ServerStatus["state"], [Tone, string]> = {
  ready: ["ok", "ready"],
  connecting: ["info", "connecting"],
  waiting: ["warn", "waiting"],
  failed: ["bad", "failed"],
  stopped: ["plain", "stopped"],
  resting: ["plain", "resting"],
  login: ["warn", "needs a login"],
};
const COLUMNS = [
  column("Name"),
  column("State"),
  number("Tools"),
  number("Resources"),
  number("Prompts"),
  column("Reached by"),
  column("Cage"),
  column("Protocol"),
  number("Restarts"),
  actions,
];

export function Servers() {
  const known = useQuery(servers());
  const items = known.data?.items ?? [];
  return (
    <>
      <Header title="Servers" sub="MCP servers, the state of their connections, and what each may touch." />
      <Failure error={known.error} />
      <Table columns={COLUMNS} caption="MCP servers">
        {items.map((item) => (
          <Server key={item.name} server={item} />
        ))}
      </Table>
      {known.isSuccess && items.every((item) => !item.spec) && (
        <Empty title="Only the built-in server is here. Add another below, or:" command="umbrella mcp add git -- uvx mcp-server-git" />
      )}
      <AddServer />
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
  const [tone, state] = STATES[server.state];
  const confirmRemove = () => {
    if (window.confirm(`Disconnect and forget ${server.name}?`)) remove.mutate();
  };
  return (
    <tr>
      <th scope="row">{visible(server.name)}</th>
      <td>
        <Badge tone={tone}>{state}</Badge>
        {server.error && <div className="small bad-text">{visible(server.error)}</div>}
        <Failure error={remove.error} />
      </td>
      <td className="num">{server.tools}</td>
      <td className="num">{server.resources}</td>
      <td className="num">{server.prompts}</td>
      <td className="uri">
        <code>{visible(how)}</code>
      </td>
      <td className="small">{server.caged ? visible(server.caged) : server.spec?.command ? <span className="warn-text">none</span> : ""}</td>
      <td>{server.protocol}</td>
      <td className="num">{server.restarts}</td>
      <td>
        <div className="deeds">
          {server.state === "login" && <LogIn name={server.name} />}
          {server.spec && (
            <button type="button" className="danger small" aria-label={`Remove ${server.name}`} disabled={remove.isPending} onClick={confirmRemove}>
              Remove
            </button>
          )}
        </div>
      </td>
    </tr>
  );
}

/** Leads to the server's own login, which leads back here. */
function LogIn({ name }: { name: string }) {
  const begin = useMutation({
    mutationFn: () => api<LoginPage>(at("servers", name, "login"), { method: "POST" }),
    onSuccess: ({ url }) => {
      if (/^https?:/.test(url)) window.location.assign(url);
    },
  });
  return (
    <>
      <button type="button" className="small primary" aria-label={`Log in to ${name}`} disabled={begin.isPending} onClick={() => begin.mutate()}>
        {begin.isPending ? "Asking…" : "Log in"}
      </button>
      <Failure error={begin.error} />
    </>
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
    <section aria-labelledby="add-server">
      <h2 id="add-server">Add a server</h2>
      <p className="muted small">Its process may do what the node may. In a cage it gets only what you name: umbrella mcp add NAME --allow-path … --no-network -- COMMAND</p>
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
    </section>
  );
}
