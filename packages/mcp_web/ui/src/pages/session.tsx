// One session: its transcript as it happens, and the ways to take part in it.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { api, at } from "../api/http";
import { session, status } from "../api/queries";
import type { Posted, Profile, Session } from "../api/types";
import { Badge, Empty, Failure, Header, Id } from "../parts/basics";
import { Card } from "../transcript/cards";
import { useTranscript } from "../transcript/follow";
import type { Transcript } from "../transcript/state";

const SHOWN = 200;

export function SessionPage({ id }: { id: string }) {
  const known = useQuery(session(id));
  const { transcript, failure } = useTranscript(id);
  if (known.error && !known.data) {
    return (
      <>
        <Header title="Session" />
        <Failure error={known.error} />
      </>
    );
  }
  return (
    <div className="session">
      <Top id={id} transcript={transcript} session={known.data} />
      {failure && (
        <div className="notice bad" role="alert">
          <p>{failure}</p>
        </div>
      )}
      <Stream transcript={transcript} />
      <Composer id={id} transcript={transcript} />
    </div>
  );
}

const PROFILES: [Profile, string][] = [
  ["locked", "locked: nothing at all"],
  ["ask", "ask: nothing unasked"],
  ["careful", "careful: read, ask for the rest"],
  ["open", "open: everything unasked"],
];

function Top({ id, transcript, session: known }: { id: string; transcript: Transcript; session: Session | undefined }) {
  const change = useMutation({
    mutationFn: (body: { profile: Profile }) => api<Session>(at("sessions", id), { method: "PATCH", body }),
  });
  const end = useMutation({ mutationFn: () => api<null>(at("sessions", id), { method: "DELETE" }) });
  const step = useMutation({
    mutationFn: (name: "suspend" | "resume") => api<Session>(at("sessions", id, name), { method: "POST" }),
  });
  const [, go] = useLocation();
  const queries = useQueryClient();
  const fork = useMutation({
    mutationFn: () => api<Session>(at("sessions", id, "fork"), { method: "POST", body: {} }),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["sessions"] });
      go(`/sessions/${made.id}`);
    },
  });
  const confirmEnd = () => {
    if (window.confirm("End this session? Its agents and their rights end with it; the transcript stays.")) end.mutate();
  };
  const agents = known?.agents ?? [];
  return (
    <>
      <Header
        title={transcript.title || "Untitled session"}
        sub={
          <>
            <Id value={id} />
            {transcript.ended ? <Badge>ended</Badge> : transcript.suspended ? <Badge tone="warn">suspended</Badge> : transcript.busy ? <Badge tone="info">working</Badge> : <Badge tone="ok">idle</Badge>}
            {transcript.inputTokens + transcript.outputTokens > 0 && (
              <span title="tokens read and written">
                {transcript.inputTokens.toLocaleString()} in · {transcript.outputTokens.toLocaleString()} out
              </span>
            )}
            {transcript.folder && <code title="files below it may be read without asking">{transcript.folder}</code>}
            {agents.map((agent) => (
              <Link key={agent} href={`/agents/${agent}`}>
                {agent.slice(0, 14)}
              </Link>
            ))}
          </>
        }
      >
        <label className={transcript.profile === "open" ? "profile open" : "profile"}>
          <span>Profile</span>
          <select
            value={transcript.profile}
            disabled={transcript.ended || change.isPending}
            onChange={(event) => change.mutate({ profile: event.target.value as Profile })}
          >
            {PROFILES.map(([name, meaning]) => (
              <option key={name} value={name}>
                {meaning}
              </option>
            ))}
          </select>
        </label>
        <button type="button" onClick={() => fork.mutate()} disabled={fork.isPending} title="Go on in a copy; this session stays as it is">
          Fork
        </button>
        {!transcript.ended && (
          <button
            type="button"
            onClick={() => step.mutate(transcript.suspended ? "resume" : "suspend")}
            disabled={step.isPending}
            title={transcript.suspended ? "Let things begin again" : "Tool calls that run may finish; nothing else begins"}
          >
            {transcript.suspended ? "Resume" : "Suspend"}
          </button>
        )}
        {!transcript.ended && (
          <button type="button" onClick={confirmEnd} disabled={end.isPending}>
            End session
          </button>
        )}
      </Header>
      <Failure error={change.error ?? end.error ?? step.error ?? fork.error} />
    </>
  );
}

function Stream({ transcript }: { transcript: Transcript }) {
  const box = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const [all, setAll] = useState(false);
  useLayoutEffect(() => {
    const element = box.current;
    if (element && pinned.current) element.scrollTop = element.scrollHeight;
  }, [transcript]);
  const hidden = all ? 0 : Math.max(0, transcript.items.length - SHOWN);
  const items = transcript.items.slice(hidden);
  const asking = items.some((item) => item.kind === "call" && item.status === "waiting");
  return (
    <div
      className="stream"
      ref={box}
      tabIndex={0}
      role="log"
      aria-label="Transcript"
      onScroll={(event) => {
        const element = event.currentTarget;
        pinned.current = element.scrollHeight - element.scrollTop - element.clientHeight < 60;
      }}
    >
      {hidden > 0 && (
        <button type="button" className="link" onClick={() => setAll(true)}>
          Show {hidden} earlier
        </button>
      )}
      {items.length === 0 && (
        <Empty title="Nothing has been said yet. Write below, or from a terminal:" command='umbrella ask --continue "…"' />
      )}
      {items.map((item) => (
        <Card key={item.key} item={item} />
      ))}
      {transcript.busy && !items.some((item) => item.kind === "assistant" && item.open) && (
        <p className="working" role="status">
          <span className="spin" aria-hidden="true" /> {asking ? "waiting for your answer" : "working"}
        </p>
      )}
    </div>
  );
}

function Composer({ id, transcript }: { id: string; transcript: Transcript }) {
  const [text, setText] = useState("");
  const model = useQuery(status()).data?.model;
  const area = useRef<HTMLTextAreaElement>(null);
  const post = useMutation({
    mutationFn: (said: string) => api<Posted>(at("sessions", id, "messages"), { method: "POST", body: { text: said } }),
    onSuccess: () => setText(""),
  });
  const cancel = useMutation({ mutationFn: () => api<unknown>(at("sessions", id, "cancel"), { method: "POST" }) });
  const send = () => {
    if (text.trim() && !post.isPending) post.mutate(text);
  };
  useEffect(() => area.current?.focus(), []);
  if (transcript.ended) return <p className="muted ended">This session has ended. Its transcript stays here.</p>;
  if (transcript.suspended) return <p className="muted ended">This session is suspended. Resume it to go on.</p>;
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {model && !model.ready && <p className="small warn-text">No model is set up: {model.hint}</p>}
      <Failure error={post.error ?? cancel.error} />
      <div className="composer-row">
        <textarea
          ref={area}
          value={text}
          rows={Math.min(10, Math.max(2, text.split("\n").length))}
          aria-label="Message to the assistant"
          placeholder="Message the assistant. Enter sends, Shift+Enter is a new line, Escape stops it"
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
              event.preventDefault();
              send();
            }
            if (event.key === "Escape" && transcript.busy) cancel.mutate();
          }}
        />
        <div className="composer-buttons">
          <button type="submit" className="primary" disabled={!text.trim() || post.isPending}>
            Send
          </button>
          <button type="button" disabled={!transcript.busy || cancel.isPending} onClick={() => cancel.mutate()}>
            Stop
          </button>
        </div>
      </div>
    </form>
  );
}
