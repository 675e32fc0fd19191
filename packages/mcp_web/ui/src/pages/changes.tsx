// Tools that are not what they were: what changed, and a person's word that it may be used.
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../api/http";
import { changes } from "../api/queries";
import type { ToolChange, ToolInfo } from "../api/types";
import { Failure, More } from "../parts/basics";
import { Diff } from "../parts/diff";
import { visible } from "../parts/values";

const nameOf = (change: ToolChange): string => `${change.server}/${change.tool}`;

/**
 * Shows one state of each change until the person asks for a newer one, so that what is accepted is what was read;
 * also when a server goes and comes back as something else while somebody reads.
 */
export function Changes() {
  const found = useInfiniteQuery(changes());
  const [seen, setSeen] = useState<Record<string, ToolChange>>({});
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const fresh = items.filter((item) => !(nameOf(item) in seen));
  const look = (looked: ToolChange[]) => setSeen({ ...seen, ...Object.fromEntries(looked.map((item) => [nameOf(item), item])) });
  if (fresh.length) look(fresh);
  if (!items.length) return <Failure error={found.error} />;
  return (
    <section aria-labelledby="changed">
      <h2 id="changed">Changed tools</h2>
      <p className="muted">
        They are not what they were when they were first allowed, so their calls are refused until you have looked. Whoever changes a tool
        can write instructions into it.
      </p>
      <Failure error={found.error} />
      {items.map((item) => (
        <Change key={nameOf(item)} change={item} seen={seen[nameOf(item)] ?? item} onLook={() => look([item])} />
      ))}
      <More shown={found.hasNextPage} loading={found.isFetchingNextPage} onMore={() => void found.fetchNextPage()} />
    </section>
  );
}

function Change({ change, seen, onLook }: { change: ToolChange; seen: ToolChange; onLook: () => void }) {
  const queries = useQueryClient();
  const accept = useMutation({
    mutationFn: () =>
      api<ToolInfo>("/api/tools/accept", { method: "POST", body: { server: seen.server, tool: seen.tool, fingerprint: seen.fingerprint } }),
    onSettled: () => Promise.all(["changes", "tools"].map((name) => queries.invalidateQueries({ queryKey: [name] }))),
  });
  const name = visible(nameOf(change));
  const newer = change.fingerprint !== seen.fingerprint;
  const look = () => {
    accept.reset();
    onLook();
  };
  return (
    <article className="card call bad" aria-label={`Changed tool ${name}`}>
      <header>
        <h3 className="tool">{name}</h3>
      </header>
      {seen.now ? <Diff text={seen.diff} /> : <p>Its server does not offer it at the moment.</p>}
      <Failure error={accept.error} />
      {newer ? (
        <p className="row-form" role="status">
          <strong>It has changed again.</strong>
          <button type="button" onClick={look}>
            Show it as it is now
          </button>
        </p>
      ) : (
        seen.now && (
          <p className="row-form">
            <button type="button" className="danger" disabled={accept.isPending} onClick={() => accept.mutate()}>
              Accept
            </button>
            <span className="muted small">It may be used as it is now; what was approved before is asked again.</span>
          </p>
        )
      )}
    </article>
  );
}
