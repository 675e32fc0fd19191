// How programs come in: keys, each shown once; and the virtual servers that MCP clients find.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, at } from "../api/http";
import { keys, publications } from "../api/queries";
import type { ApiKey, NewKey, Publication } from "../api/types";
import { Empty, Failure, Field, Header, Id, More } from "../parts/basics";
import { actions, column, Table } from "../parts/table";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

const KEYS = [column("Name"), column("Principal"), column("Made"), column("Last used"), column("Ends"), actions];
const PUBLISHED = [column("Name"), column("Tools"), column("Resources"), column("Prompts"), column("Found by"), actions];
const DAY_S = 86_400;
const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

export function Keys() {
  const found = useInfiniteQuery(keys());
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Header title="Keys & virtual servers" sub="Programs come in with a key and hold what its principal holds; MCP clients find the node at /mcp and each virtual server at /mcp/name." />
      <section aria-labelledby="keys">
        <h2 id="keys">Keys</h2>
        <Failure error={found.error} />
        {found.isSuccess && !items.length && <Empty title="There are no keys." command="umbrella key create NAME" />}
        {items.length > 0 && (
          <Table columns={KEYS} caption="Keys">
            {items.map((item) => (
              <KeyRow key={item.id} item={item} />
            ))}
          </Table>
        )}
        <More shown={found.hasNextPage} loading={found.isFetchingNextPage} onMore={() => void found.fetchNextPage()} />
        <CreateKey />
      </section>
      <Published />
    </>
  );
}

function KeyRow({ item }: { item: ApiKey }) {
  const queries = useQueryClient();
  const revoke = useMutation({
    mutationFn: () => api<ApiKey>(at("keys", item.id), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["keys"] }),
  });
  return (
    <tr>
      <th scope="row">
        {visible(item.name)}
        <Failure error={revoke.error} />
      </th>
      <td>
        <Id value={item.principal_id} />
      </td>
      <td>
        <Time at={item.created_at} />
      </td>
      <td>{item.last_used_at ? <Time at={item.last_used_at} /> : "never"}</td>
      <td>{item.expires_at ? <Time at={item.expires_at} /> : "when revoked"}</td>
      <td>
        <button
          type="button"
          className="small danger"
          aria-label={`Revoke ${item.name}`}
          disabled={revoke.isPending}
          onClick={() => {
            if (window.confirm(`Revoke ${item.name}? Programs that use it are locked out at once.`)) revoke.mutate();
          }}
        >
          Revoke
        </button>
      </td>
    </tr>
  );
}

function CreateKey() {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [grants, setGrants] = useState("");
  const [days, setDays] = useState("");
  const make = useMutation({
    mutationFn: () =>
      api<NewKey>("/api/keys", {
        method: "POST",
        body: { name: name.trim(), grants: words(grants).map((uri) => ({ resource_uri: uri })), expires_in_s: days ? Number(days) * DAY_S : null },
      }),
    onSuccess: () => {
      setName("");
      setGrants("");
      return queries.invalidateQueries({ queryKey: ["keys"] });
    },
  });
  const made = make.data;
  return (
    <>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          make.mutate();
        }}
      >
        <Field label="Name of the new key">
          <input required maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Rights of its principal (URIs)">
          <input placeholder="mcp://tool/execute/git/*" spellCheck={false} value={grants} onChange={(event) => setGrants(event.target.value)} />
        </Field>
        <Field label="Days until it ends">
          <input type="number" min={1} placeholder="no end" value={days} onChange={(event) => setDays(event.target.value)} />
        </Field>
        <button type="submit" disabled={make.isPending || !name.trim()}>
          Make a key
        </button>
      </form>
      <Failure error={make.error} />
      {made && (
        <div className="notice ok" role="status">
          <p>
            <strong>The key {visible(made.key.name)}, shown this once.</strong> Nobody can show it again; keep it where secrets are kept.
          </p>
          <p>
            <code>{made.secret}</code>{" "}
            <button type="button" className="small" onClick={() => void navigator.clipboard?.writeText(made.secret)}>
              Copy the key
            </button>{" "}
            <button type="button" className="small" onClick={() => make.reset()}>
              I have kept it
            </button>
          </p>
        </div>
      )}
    </>
  );
}

function Published() {
  const queries = useQueryClient();
  const found = useQuery(publications());
  const items = found.data?.items ?? [];
  const fresh = () => queries.invalidateQueries({ queryKey: ["publications"] });
  const remove = useMutation({ mutationFn: (name: string) => api<null>(at("publications", name), { method: "DELETE" }), onSuccess: fresh });
  return (
    <section aria-labelledby="published">
      <h2 id="published">Virtual servers</h2>
      <Failure error={found.error ?? remove.error} />
      {found.isSuccess && !items.length && <Empty title="There are no virtual servers; /mcp offers everything that a client holds rights on." />}
      {items.length > 0 && (
        <Table columns={PUBLISHED} caption="Virtual servers">
          {items.map((item) => (
            <tr key={item.name}>
              <th scope="row">
                <code>/mcp/{item.name}</code>
              </th>
              {[item.tools, item.resources, item.prompts].map((globs, index) => (
                <td key={index} className="uri">
                  <code>{visible((globs ?? []).join(" "))}</code>
                </td>
              ))}
              <td>{item.principal_id ? <Id value={item.principal_id} /> : "everybody who comes in"}</td>
              <td>
                <button type="button" className="small danger" aria-label={`Take away ${item.name}`} disabled={remove.isPending} onClick={() => remove.mutate(item.name)}>
                  Take away
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      <Publish onDone={fresh} />
    </section>
  );
}

function Publish({ onDone }: { onDone: () => Promise<void> }) {
  const [name, setName] = useState("");
  const [tools, setTools] = useState("");
  const [prompts, setPrompts] = useState("");
  const [resources, setResources] = useState("");
  const publish = useMutation({
    mutationFn: () => api<Publication>(at("publications", name.trim()), { method: "PUT", body: { tools: words(tools), prompts: words(prompts), resources: words(resources) } }),
    onSuccess: () => {
      setName("");
      return onDone();
    },
  });
  return (
    <>
      <form
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          publish.mutate();
        }}
      >
        <Field label="Name of the virtual server">
          <input required maxLength={63} spellCheck={false} value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Tools (globs)">
          <input placeholder="git/* fs/read_file" spellCheck={false} value={tools} onChange={(event) => setTools(event.target.value)} />
        </Field>
        <Field label="Resources (globs)">
          <input placeholder="catalog/*" spellCheck={false} value={resources} onChange={(event) => setResources(event.target.value)} />
        </Field>
        <Field label="Prompts (globs)">
          <input placeholder="catalog/*" spellCheck={false} value={prompts} onChange={(event) => setPrompts(event.target.value)} />
        </Field>
        <button type="submit" disabled={publish.isPending || !name.trim()}>
          Offer
        </button>
      </form>
      <Failure error={publish.error} />
    </>
  );
}
