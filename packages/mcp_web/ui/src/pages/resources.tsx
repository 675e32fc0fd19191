// The catalog's resources: what there is, what each holds, a text added, one taken away.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../api/http";
import { resources } from "../api/queries";
import type { Item } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Json, More } from "../parts/basics";
import { actions, column, number, Table } from "../parts/table";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

const COLUMNS = [column("Name"), column("URI"), column("Kind"), column("Type"), number("Bytes"), column("Seen by"), column("Changed"), actions];
const MOST_SHOWN = 200_000;
const place = (uri: string): string => `/api/resources/${encodeURIComponent(uri)}`;
const content = (uri: string): string => `/api/resources/download/${encodeURIComponent(uri)}`;

export function Resources() {
  const [search, setSearch] = useState("");
  const [opened, setOpened] = useState("");
  const found = useInfiniteQuery(resources(search.trim()));
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const item = items.find((each) => each.uri === opened);
  return (
    <>
      <Header title="Resources" sub="What the catalog keeps for you and for agents: texts, files, addresses, uploads." />
      <div className="row-form filters">
        <Field label="Search">
          <input type="search" placeholder="words in name, tags or text" spellCheck={false} value={search} onChange={(event) => setSearch(event.target.value)} />
        </Field>
      </div>
      <Failure error={found.error} />
      {found.isSuccess && !items.length && <Empty title={search ? "Nothing fits." : "The catalog is empty."} command="umbrella resource --help" />}
      {items.length > 0 && (
        <Table columns={COLUMNS} caption="Resources">
          {items.map((each) => (
            <Row key={`${each.owner_id} ${each.uri}`} item={each} opened={each.uri === opened} onOpen={(on) => setOpened(on ? each.uri : "")} />
          ))}
        </Table>
      )}
      <More shown={found.hasNextPage} loading={found.isFetchingNextPage} onMore={() => void found.fetchNextPage()} />
      {item && <Held item={item} />}
      <AddText />
    </>
  );
}

function Row({ item, opened, onOpen }: { item: Item; opened: boolean; onOpen: (on: boolean) => void }) {
  const queries = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api<null>(place(item.uri), { method: "DELETE" }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["resources"] }),
  });
  const confirmDelete = () => {
    if (window.confirm(`Delete ${item.name}?`)) remove.mutate();
  };
  return (
    <tr>
      <th scope="row">
        {visible(item.name)}
        {item.description && <div className="muted small">{visible(item.description)}</div>}
        <Failure error={remove.error} />
      </th>
      <td className="uri">
        <code>{visible(item.uri)}</code>
      </td>
      <td>{item.kind}</td>
      <td>{visible(item.mime_type ?? "")}</td>
      <td className="num">{item.size?.toLocaleString()}</td>
      <td>{item.visibility === "public" ? <Badge tone="info">everybody</Badge> : "you"}</td>
      <td>
        <Time at={item.updated_at} />
      </td>
      <td>
        <div className="deeds">
          <button type="button" className="small" aria-pressed={opened} aria-label={`View ${item.name}`} onClick={() => onOpen(!opened)}>
            View
          </button>
          <button type="button" className="small danger" aria-label={`Delete ${item.name}`} disabled={remove.isPending} onClick={confirmDelete}>
            Delete
          </button>
        </div>
      </td>
    </tr>
  );
}

/** Text as text, whatever its type says; everything else is only offered as a file. */
function Held({ item }: { item: Item }) {
  const held = useQuery({
    queryKey: ["held", item.uri, item.updated_at],
    queryFn: async () => {
      const answer = await fetch(content(item.uri), { headers: { "x-umbrella": "1" } });
      if (!answer.ok) throw new Error(((await answer.json()) as { message?: string }).message ?? `The server answered ${answer.status}.`);
      const bytes = await answer.arrayBuffer();
      try {
        return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      } catch {
        return null;
      }
    },
  });
  const text = held.data;
  return (
    <section aria-labelledby="held">
      <h2 id="held">{visible(item.name)}</h2>
      <Failure error={held.error} />
      {text === null && <p>It is not text.</p>}
      {typeof text === "string" && <Json value={visible(text.slice(0, MOST_SHOWN)) || "empty"} label={`content of ${item.name}`} />}
      {typeof text === "string" && text.length > MOST_SHOWN && <p className="muted small">The first {MOST_SHOWN.toLocaleString()} characters of {text.length.toLocaleString()}.</p>}
      <p>
        <a href={content(item.uri)} download>
          Download
        </a>
      </p>
    </section>
  );
}

function AddText() {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const [shared, setShared] = useState(false);
  const add = useMutation({
    mutationFn: () =>
      api<Item>("/api/resources", { method: "POST", body: { kind: "text", name: name.trim(), text, mime_type: "text/plain", visibility: shared ? "public" : "private" } }),
    onSuccess: () => {
      setName("");
      setText("");
      return queries.invalidateQueries({ queryKey: ["resources"] });
    },
  });
  return (
    <section aria-labelledby="add-text">
      <h2 id="add-text">Add a text</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <Field label="Name of the text">
          <input required maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Text">
          <textarea required rows={6} value={text} onChange={(event) => setText(event.target.value)} />
        </Field>
        <div className="row-form">
          <label className="check">
            <input type="checkbox" checked={shared} onChange={(event) => setShared(event.target.checked)} /> everybody who can come in may read it
          </label>
          <button type="submit" className="primary" disabled={add.isPending || !name.trim() || !text}>
            Add
          </button>
        </div>
      </form>
      <Failure error={add.error} />
    </section>
  );
}
