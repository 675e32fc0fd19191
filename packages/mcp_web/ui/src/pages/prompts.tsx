// The catalog's prompts: every version of them, and what they say with values in place.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { api, at } from "../api/http";
import { prompt, prompts, promptVersions } from "../api/queries";
import type { Prompt, PromptArgument, Rendered } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Json, More } from "../parts/basics";
import { SchemaForm } from "../parts/form";
import { actions, column, number, Table } from "../parts/table";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

const COLUMNS = [column("Name"), column("Title"), number("Version"), number("Uses"), column("Seen by"), column("Changed"), actions];
const VERSIONS = [number("Version"), column("Changed"), column("Template"), actions];

export function Prompts() {
  const [search, setSearch] = useState("");
  const [opened, setOpened] = useState("");
  const found = useInfiniteQuery(prompts(search.trim()));
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <Header title="Prompts" sub="Templates with {{name}} placeholders. Every version is kept; the REPL calls one with /catalog:name." />
      <div className="row-form filters">
        <Field label="Search">
          <input type="search" placeholder="words in name, title or tags" spellCheck={false} value={search} onChange={(event) => setSearch(event.target.value)} />
        </Field>
      </div>
      <Failure error={found.error} />
      {found.isSuccess && !items.length && <Empty title={search ? "Nothing fits." : "There are no prompts yet."} command="umbrella prompt --help" />}
      {items.length > 0 && (
        <Table columns={COLUMNS} caption="Prompts">
          {items.map((item) => (
            <tr key={`${item.owner_id} ${item.name}`}>
              <th scope="row" className="tool">
                {visible(item.name)}
              </th>
              <td>
                {visible(item.title ?? "")}
                {item.description && <div className="muted small">{visible(item.description)}</div>}
              </td>
              <td className="num">{item.version}</td>
              <td className="num">{item.uses}</td>
              <td>{item.visibility === "public" ? <Badge tone="info">everybody</Badge> : "you"}</td>
              <td>
                <Time at={item.updated_at} />
              </td>
              <td>
                <button type="button" className="small" aria-pressed={opened === item.name} aria-label={`Open ${item.name}`} onClick={() => setOpened(opened === item.name ? "" : item.name)}>
                  Open
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      <More shown={found.hasNextPage} loading={found.isFetchingNextPage} onMore={() => void found.fetchNextPage()} />
      {opened ? <Opened key={opened} name={opened} onGone={() => setOpened("")} /> : <AddPrompt onAdded={setOpened} />}
    </>
  );
}

function Opened({ name, onGone }: { name: string; onGone: () => void }) {
  const found = useQuery(prompt(name));
  return (
    <>
      <Failure error={found.error} />
      {found.data && (
        <>
          <Render prompt={found.data} />
          <Edit key={found.data.version} prompt={found.data} onGone={onGone} />
          <Versions prompt={found.data} />
        </>
      )}
    </>
  );
}

function schemaOf(given: PromptArgument[]): Record<string, unknown> {
  const properties = given.map((each) => [each.name, { type: "string", title: each.title || each.name, description: each.description, default: each.default ?? undefined }] as const);
  return { type: "object", properties: Object.fromEntries(properties), required: given.filter((each) => each.required).map((each) => each.name) };
}

function Render({ prompt: given }: { prompt: Prompt }) {
  const render = useMutation({
    mutationFn: (values: Record<string, unknown>) => api<Rendered>(at("prompts", given.name, "render"), { method: "POST", body: { arguments: values } }),
  });
  return (
    <section aria-labelledby="render">
      <h2 id="render">{visible(given.title || given.name)}</h2>
      {given.description && <p className="muted">{visible(given.description)}</p>}
      {(given.warnings ?? []).map((warning) => (
        <p key={warning} className="small warn-text">
          {visible(warning)}
        </p>
      ))}
      <SchemaForm schema={schemaOf(given.arguments ?? [])} send="Render" busy={render.isPending} error={render.error} onSend={(values) => render.mutate(values)} />
      {render.data && (
        <div className="outcome" role="status">
          <Json value={visible(render.data.rendered)} label="rendered prompt" />
        </div>
      )}
    </section>
  );
}

function Edit({ prompt: given, onGone }: { prompt: Prompt; onGone: () => void }) {
  const queries = useQueryClient();
  const [template, setTemplate] = useState(given.template);
  const fresh = () => Promise.all(["prompts", "prompt"].map((name) => queries.invalidateQueries({ queryKey: [name] })));
  const save = useMutation({
    mutationFn: () => api<Prompt>(at("prompts", given.name), { method: "PUT", body: { template, expected_version: given.version } }),
    onSuccess: fresh,
  });
  const remove = useMutation({
    mutationFn: () => api<null>(at("prompts", given.name), { method: "DELETE" }),
    onSuccess: () => {
      onGone(); // what is gone is not asked for again
      return queries.invalidateQueries({ queryKey: ["prompts"] });
    },
  });
  if (given.source) {
    return (
      <p className="muted">
        It comes from <code>{visible(given.source)}</code> and is changed there.
      </p>
    );
  }
  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <Field label={`Template of version ${given.version}`}>
        <textarea required rows={Math.min(16, Math.max(4, template.split("\n").length))} className="mono" spellCheck={false} value={template} onChange={(event) => setTemplate(event.target.value)} />
      </Field>
      <div className="row-form">
        <button type="submit" className="primary" disabled={save.isPending || template === given.template || !template}>
          Save as version {given.version + 1}
        </button>
        <button
          type="button"
          className="danger"
          disabled={remove.isPending}
          onClick={() => {
            if (window.confirm(`Delete ${given.name} with all its versions?`)) remove.mutate();
          }}
        >
          Delete the prompt
        </button>
      </div>
      <Failure error={save.error ?? remove.error} />
    </form>
  );
}

function Versions({ prompt: given }: { prompt: Prompt }) {
  const queries = useQueryClient();
  const found = useQuery(promptVersions(given.name));
  const back = useMutation({
    mutationFn: (version: number) => api<Prompt>(at("prompts", given.name, "revert"), { method: "POST", body: { version } }),
    onSuccess: () => Promise.all(["prompts", "prompt"].map((name) => queries.invalidateQueries({ queryKey: [name] }))),
  });
  const items = found.data?.items ?? [];
  return (
    <section aria-labelledby="versions">
      <h2 id="versions">Versions</h2>
      <Failure error={found.error ?? back.error} />
      <Table columns={VERSIONS} caption="Versions">
        {items.map((item) => (
          <tr key={item.version}>
            <th scope="row" className="num">
              {item.version}
            </th>
            <td>
              <Time at={item.updated_at} />
            </td>
            <td>
              <code>{visible(item.template).slice(0, 300)}</code>
            </td>
            <td>
              {item.version !== given.version && !given.source && (
                <button type="button" className="small" disabled={back.isPending} aria-label={`Go back to version ${item.version}`} onClick={() => back.mutate(item.version)}>
                  Go back
                </button>
              )}
            </td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

const PLACEHOLDER = /\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}/g;

function AddPrompt({ onAdded }: { onAdded: (name: string) => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [title, setTitle] = useState("");
  const [template, setTemplate] = useState("");
  const names = [...new Set([...template.matchAll(PLACEHOLDER)].map((found) => found[1] ?? ""))];
  const add = useMutation({
    mutationFn: () =>
      api<Prompt>("/api/prompts", {
        method: "POST",
        body: { name: name.trim(), title: title.trim(), template, arguments: names.map((each) => ({ name: each, required: true })) },
      }),
    onSuccess: async (made) => {
      await queries.invalidateQueries({ queryKey: ["prompts"] });
      onAdded(made.name);
    },
  });
  return (
    <section aria-labelledby="add-prompt">
      <h2 id="add-prompt">Add a prompt</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <div className="row-form">
          <Field label="Name of the prompt">
            <input required maxLength={100} spellCheck={false} pattern="[A-Za-z0-9][A-Za-z0-9_.\-]*" value={name} onChange={(event) => setName(event.target.value)} />
          </Field>
          <Field label="Title">
            <input maxLength={200} value={title} onChange={(event) => setTitle(event.target.value)} />
          </Field>
        </div>
        <Field label="Template" hint={names.length ? `asks for: ${names.join(", ")}` : "write {{name}} where a value belongs"}>
          <textarea required rows={5} className="mono" value={template} onChange={(event) => setTemplate(event.target.value)} />
        </Field>
        <div className="row-form">
          <button type="submit" className="primary" disabled={add.isPending || !name.trim() || !template}>
            Add
          </button>
        </div>
      </form>
      <Failure error={add.error} />
    </section>
  );
}
