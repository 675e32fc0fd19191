// The actors of the node as they are now: the tree, what each handles, what reached nobody; and a hand on them.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, type ReactNode } from "react";
import { api, at } from "../api/http";
import { lost, runtime, seen } from "../api/queries";
import type { ActorStatus, Blockage, Branch, LostMessage, RuntimeStatus } from "../api/types";
import { Badge, Empty, Failure, Field, Header, type Tone } from "../parts/basics";
import { column, Head, number, Table } from "../parts/table";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

const TONES: Record<ActorStatus["state"], Tone> = {
  idle: "plain",
  ready: "info",
  busy: "ok",
  waiting: "info",
  down: "bad",
  asleep: "plain",
  ended: "plain",
};
const ACTORS = [column("Actor"), column("Type"), column("State"), ...["Mail", "Messages/s", "Restarts", "Bytes"].map(number), column("Do")];
const SEEN = [column("Time"), column("Outcome"), number("Took"), column("From"), column("Message")];
const LETTERS = [number("#"), column("Time"), column("To"), column("From"), column("Reason"), column("Message"), column("Do")];
const SORTS = { mail: "most mail", rate: "most messages a second", restarts: "most restarts", name: "name" } as const;
type Sort = keyof typeof SORTS;
const HURRIED_S = 0.4;
const RECENT_S = 30;

export function Runtime() {
  const [sort, setSort] = useState<Sort>("mail");
  const [match, setMatch] = useState("");
  const [watched, setWatched] = useState("");
  const look = useQuery(runtime(sort === "rate" ? "handled" : sort, match.trim()));
  const [looks, setLooks] = useState<{ now?: RuntimeStatus; before?: RuntimeStatus }>({});
  const now = look.data;
  // Two looks give the rates; one that came too soon after the last is no second one.
  if (now && now !== looks.now) {
    const passed = looks.now ? now.uptime_s - looks.now.uptime_s : -1;
    setLooks({ now, before: passed < 0 ? undefined : passed >= HURRIED_S ? looks.now : looks.before });
  }
  const watch = useWatch(watched, setWatched);
  return (
    <>
      <Header title="Runtime" sub="Every actor of this node under its supervisor, looked at once a second." />
      <Failure error={look.error} />
      {now && <Figures now={now} />}
      <div className="row-form filters">
        <Field label="Filter">
          <input type="search" placeholder="name, type or title" spellCheck={false} maxLength={200} value={match} onChange={(event) => setMatch(event.target.value)} />
        </Field>
        <Field label="First">
          <select value={sort} onChange={(event) => setSort(event.target.value as Sort)}>
            {Object.entries(SORTS).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </Field>
      </div>
      <Failure error={watch.error} />
      {watched && <Messages name={watched} onStop={() => watch.mutate("")} />}
      {now && <Tree now={now} before={looks.before} sort={sort} watched={watched} onWatch={(name) => watch.mutate(name)} />}
      {now && <Letters count={now.dead_letters} />}
    </>
  );
}

/** Watches one actor at a time from here; it is left alone when another one is, or the page is left. */
function useWatch(watched: string, onWatched: (name: string) => void) {
  const tell = (name: string, on: boolean) => api<null>("/api/runtime/watch", { method: "POST", body: { name, on } });
  useEffect(() => {
    if (!watched) return;
    return () => void tell(watched, false).catch(() => undefined); // the node is away, and has forgotten it
  }, [watched]);
  return useMutation({
    mutationFn: async (name: string) => {
      if (name) await tell(name, true);
      return name;
    },
    onSuccess: onWatched,
  });
}

function Figures({ now }: { now: RuntimeStatus }) {
  const last = now.blocks?.at(-1);
  const recent = last && (last.ago_s ?? 0) < RECENT_S ? last : undefined;
  return (
    <>
      <ul className="tiles">
        <Figure label="actors" value={now.actors.toLocaleString()} />
        <Figure label="handlers that wait" value={now.suspended.toLocaleString()} />
        <Figure label="pool threads" value={now.threads} />
        <Figure label="memory" value={`${Math.round(now.memory / 2 ** 20).toLocaleString()} MiB`} />
        <Figure label="worst block" value={seconds(now.worst_block_s)} loud={now.worst_block_s > 0} />
        <Figure label="dead letters" value={now.dead_letters.toLocaleString()} loud={now.dead_letters > 0} />
      </ul>
      <div role="status">
        {now.blocked && <Blocked blockage={now.blocked}>keeps the event loop for {seconds(now.blocked.duration_s)} already</Blocked>}
        {!now.blocked && recent && (
          <Blocked blockage={recent}>
            kept the event loop for {seconds(recent.duration_s)}, {seconds(recent.ago_s ?? 0)} ago
          </Blocked>
        )}
      </div>
    </>
  );
}

function Blocked({ blockage, children }: { blockage: Blockage; children: ReactNode }) {
  return (
    <div className="notice bad">
      <p>
        <strong>{blockage.actor ? visible(blockage.actor) : "Code outside the actors"}</strong> {children}
      </p>
      <p className="remedy">
        <code>{blockage.where}</code>
      </p>
    </div>
  );
}

function Figure({ label, value, loud = false }: { label: string; value: ReactNode; loud?: boolean }) {
  return (
    <li className={loud ? "tile loud" : "tile"}>
      <span className="figure">{value}</span>
      <span className="label">{label}</span>
    </li>
  );
}

interface TreeProps {
  now: RuntimeStatus;
  before: RuntimeStatus | undefined;
  sort: Sort;
  watched: string;
  onWatch: (name: string) => void;
}

function Tree({ now, before, sort, watched, onWatch }: TreeProps) {
  const span = before ? now.uptime_s - before.uptime_s : 0;
  const counts = before ? counted(before.tree, "") : new Map<string, number>();
  const rate = (key: string, handled: number): number | undefined => {
    const earlier = counts.get(key);
    return earlier === undefined || span <= 0 ? undefined : Math.max(0, handled - earlier) / span;
  };
  return (
    <table className="rows runtime">
      <caption className="hidden">Supervisors and their actors</caption>
      <Head columns={ACTORS} />
      {branches(now.tree, "", 0).map(({ branch, path, depth }) => (
        <tbody key={path}>
          <tr className="branch">
            <th scope="rowgroup" colSpan={8} style={{ paddingLeft: `${10 + depth * 18}px` }}>
              {visible(branch.name)}{" "}
              <span className="muted small">
                {branch.strategy}, {branch.actors.length < branch.total ? `${branch.actors.length} of ${branch.total.toLocaleString()}` : branch.total}
                {branch.failures > 0 && `, failed ${branch.failures} times`}
              </span>
            </th>
          </tr>
          {sorted(branch.actors, (actor) => rate(`${path}/${actor.name}`, actor.handled) ?? 0, sort).map((actor) => (
            <Row key={actor.name} actor={actor} depth={depth} rate={rate(`${path}/${actor.name}`, actor.handled)} watched={actor.name === watched} onWatch={onWatch} />
          ))}
        </tbody>
      ))}
    </table>
  );
}

interface Place {
  branch: Branch;
  path: string;
  depth: number;
}

function branches(branch: Branch, above: string, depth: number): Place[] {
  const path = `${above}/${branch.name}`;
  return [{ branch, path, depth }, ...(branch.branches ?? []).flatMap((below) => branches(below, path, depth + 1))];
}

function counted(tree: Branch, above: string): Map<string, number> {
  return new Map(branches(tree, above, 0).flatMap(({ branch, path }) => branch.actors.map((actor) => [`${path}/${actor.name}`, actor.handled] as const)));
}

function sorted(actors: ActorStatus[], rate: (actor: ActorStatus) => number, sort: Sort): ActorStatus[] {
  const first = { mail: (actor: ActorStatus) => actor.mail, rate, restarts: (actor: ActorStatus) => actor.restarts, name: () => 0 }[sort];
  return [...actors].sort((one, other) => first(other) - first(one) || (one.name < other.name ? -1 : 1));
}

function Row({ actor, depth, rate, watched, onWatch }: { actor: ActorStatus; depth: number; rate: number | undefined; watched: boolean; onWatch: (name: string) => void }) {
  const who = actor.about ? visible(actor.about) : shorten(actor.name);
  return (
    <tr>
      <th scope="row" style={{ paddingLeft: `${28 + depth * 18}px` }} title={visible(actor.name)}>
        {who} {actor.about && <span className="muted small mono">{shorten(actor.name)}</span>}
        {!!actor.waits_for?.length && <div className="muted small">waits for {actor.waits_for.map(shorten).join(", ")}</div>}
      </th>
      <td>
        {actor.type}
        {actor.kind === "pool" && <span className="muted small"> (pool)</span>}
      </td>
      <td>
        <Badge tone={TONES[actor.state]}>{actor.state}</Badge>
      </td>
      <td className="num">{actor.mail.toLocaleString()}</td>
      <td className="num">{rate === undefined ? "" : rate.toFixed(rate >= 100 || rate === 0 ? 0 : 1)}</td>
      <td className="num">{actor.restarts}</td>
      <td className="num">{actor.memory?.toLocaleString()}</td>
      <td>
        <div className="deeds">
          <button type="button" className="small" aria-pressed={watched} aria-label={`Watch ${who}`} onClick={() => onWatch(watched ? "" : actor.name)}>
            Watch
          </button>
          <Kill name={actor.name} who={who} />
        </div>
      </td>
    </tr>
  );
}

function Kill({ name, who }: { name: string; who: string }) {
  const [asked, setAsked] = useState(false);
  const queries = useQueryClient();
  const kill = useMutation({
    mutationFn: () => api<null>("/api/runtime/kill", { method: "POST", body: { name } }),
    onSettled: () => {
      setAsked(false);
      return queries.invalidateQueries({ queryKey: ["runtime"] });
    },
  });
  if (!asked)
    return (
      <>
        <button type="button" className="small danger" aria-label={`Kill ${who}`} onClick={() => setAsked(true)}>
          Kill
        </button>
        <Failure error={kill.error} />
      </>
    );
  return (
    <>
      <span className="small">Its supervisor brings it back.</span>
      <button type="button" className="small danger" autoFocus disabled={kill.isPending} onClick={() => kill.mutate()}>
        Yes, kill {who}
      </button>
      <button type="button" className="small" onClick={() => setAsked(false)}>
        No
      </button>
    </>
  );
}

function Messages({ name, onStop }: { name: string; onStop: () => void }) {
  const list = useQuery(seen(name));
  const items = [...(list.data ?? [])].reverse();
  return (
    <section aria-labelledby="messages">
      <h2 id="messages">
        Messages of {shorten(name)}{" "}
        <button type="button" className="small" onClick={onStop}>
          Stop watching
        </button>
      </h2>
      <Failure error={list.error} />
      {list.isSuccess && !items.length && <p className="muted">None since it is watched.</p>}
      {items.length > 0 && (
        <div className="seen" tabIndex={0} role="group" aria-label={`Messages of ${shorten(name)}, the latest first`}>
          <Table columns={SEEN} className="">
              {items.map((item, index) => (
                <tr key={items.length - index}>
                  <td>
                    <Time at={item.at} exact />
                  </td>
                  <td>
                    <Badge tone={item.outcome === "ok" ? "ok" : "bad"}>{visible(item.outcome)}</Badge>
                  </td>
                  <td className="num">{seconds(item.duration_s)}</td>
                  <td>{item.sender ? shorten(item.sender) : <span className="muted">the node</span>}</td>
                  <td>
                    <code>{visible(item.message)}</code>
                  </td>
                </tr>
              ))}
          </Table>
        </div>
      )}
    </section>
  );
}

/** Asked for when their number changes, and when something was done about them. */
function Letters({ count }: { count: number }) {
  const list = useQuery(lost(count));
  const queries = useQueryClient();
  const order = useMutation({
    mutationFn: ({ number, again }: { number: number; again: boolean }) =>
      again ? api<LostMessage>(at("runtime", "lost", String(number), "resend"), { method: "POST" }) : api<LostMessage>(at("runtime", "lost", String(number)), { method: "DELETE" }),
    onSettled: () => Promise.all(["runtime", "lost"].map((name) => queries.invalidateQueries({ queryKey: [name] }))),
  });
  const items = [...(list.data?.items ?? [])].reverse();
  return (
    <section aria-labelledby="letters">
      <h2 id="letters">Dead letters</h2>
      <Failure error={list.error ?? order.error} />
      {list.isSuccess && !items.length && <Empty title="Every message reached somebody." />}
      {items.length > 0 && (
        <Table columns={LETTERS}>
            {items.map((item) => (
              <tr key={item.number}>
                <th scope="row" className="num">
                  {item.number}
                </th>
                <td>
                  <Time at={item.at} />
                </td>
                <td className="uri">{visible(item.to)}</td>
                <td>{item.sender ? shorten(item.sender) : ""}</td>
                <td>{visible(item.reason)}</td>
                <td>
                  <code>{visible(item.message)}</code>
                </td>
                <td>
                  <div className="deeds">
                    <button
                      type="button"
                      className="small"
                      aria-label={`Send again: message ${item.number}`}
                      disabled={order.isPending || item.can_be_sent === false}
                      onClick={() => order.mutate({ number: item.number, again: true })}
                    >
                      Send again
                    </button>
                    <button type="button" className="small" aria-label={`Forget message ${item.number}`} disabled={order.isPending} onClick={() => order.mutate({ number: item.number, again: false })}>
                      Forget
                    </button>
                  </div>
                </td>
              </tr>
            ))}
        </Table>
      )}
    </section>
  );
}

/** An id with eight of its digits, wherever it stands in a name. */
function shorten(name: string): string {
  return visible(name).replace(/_([0-9a-f]{8})[0-9a-f]{24}/g, "_$1");
}

function seconds(count: number): string {
  return count < 1 ? `${Math.round(count * 1000)} ms` : `${count.toFixed(1)} s`;
}
