// What servers offer to do, a search in it, and a way to try it.
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api } from "../api/http";
import { agents, tools } from "../api/queries";
import type { CallOutcome, ToolInfo } from "../api/types";
import { Badge, Empty, Failure, Field, Header, Json, More } from "../parts/basics";
import { resultText } from "../transcript/cards";
import { Changes } from "./changes";
import { parseObject, sample } from "./tool-input";

/** All words occur in server, name, title or description. */
function fits(tool: ToolInfo, search: string): boolean {
  const text = [tool.server, tool.name, tool.title, tool.description].join(" ").toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export function Tools() {
  const offered = useInfiniteQuery(tools());
  const [chosen, setChosen] = useState("");
  const [search, setSearch] = useState("");
  const all = offered.data?.pages.flatMap((page) => page.items) ?? [];
  const list = all.filter((item) => fits(item, search.trim()));
  const tool = all.find((item) => `${item.server}/${item.name}` === chosen);
  return (
    <>
      <Header title="Tools" sub="Everything that the servers offer to do." />
      <Failure error={offered.error} />
      <Changes />
      <section aria-labelledby="offered">
        <h2 id="offered">Offered</h2>
        <div className="row-form filters">
          <Field label="Search">
            <input type="search" placeholder="server, name or what it does" spellCheck={false} value={search} onChange={(event) => setSearch(event.target.value)} />
          </Field>
          <span role="status" className="muted small">
            {list.length === all.length ? `${all.length} tools` : `${list.length} of ${all.length} tools`}
          </span>
          <Link href="/servers">Servers</Link>
        </div>
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
            {all.length > 0 && !list.length && <Empty title="No tool fits." />}
            <More shown={offered.hasNextPage} loading={offered.isFetchingNextPage} onMore={() => void offered.fetchNextPage()} />
          </div>
          {tool ? <TryIt key={chosen} tool={tool} /> : <Empty title="Choose a tool to try it, or call one in a terminal:" command={'umbrella call fs list_directory --json \'{"path": "/tmp"}\''} />}
        </div>
      </section>
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
