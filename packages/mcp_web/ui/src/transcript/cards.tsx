// The transcript, item by item.
import { memo } from "react";
import { Link } from "wouter";
import { Badge, Id, Json, type Tone } from "../parts/basics";
import { Prose } from "../parts/text";
import { Time } from "../parts/time";
import { Arguments, visible } from "../parts/values";
import { Permission } from "./approval";
import { Asks } from "./question";
import type { AskedItem, AssistantItem, CallItem, Item, NoteItem, UserItem } from "./state";

export const Card = memo(function Card({ item }: { item: Item }) {
  switch (item.kind) {
    case "user":
      return <UserCard item={item} />;
    case "assistant":
      return <AssistantCard item={item} />;
    case "call":
      return <CallCard item={item} />;
    case "asked":
      return <AskedCard item={item} />;
    case "note":
      return <NoteCard item={item} />;
  }
});

function UserCard({ item }: { item: UserItem }) {
  return (
    <article className="card user">
      <header>
        <span className="who">You</span>
        <Time at={item.at} exact />
      </header>
      <div className="said">{item.text}</div>
    </article>
  );
}

function AssistantCard({ item }: { item: AssistantItem }) {
  return (
    <article className="card assistant">
      <header>
        <span className="who">Assistant</span>
        {item.model && <span className="muted">{item.model}</span>}
        {item.tokens > 0 && <span className="muted">{item.tokens} tokens</span>}
        {item.at ? <Time at={item.at} exact /> : <span className="muted">writing…</span>}
      </header>
      <Prose text={item.text} />
    </article>
  );
}

const STATES: Record<CallItem["status"], [Tone, string]> = {
  waiting: ["warn", "needs approval"],
  running: ["info", "running"],
  completed: ["ok", "done"],
  failed: ["bad", "failed"],
};

function CallCard({ item }: { item: CallItem }) {
  const asking = item.approval !== null && item.answer === null && item.status === "waiting";
  const failedInside = item.result?.is_error ?? false;
  const [tone, label] = failedInside ? (["bad", "tool reported an error"] as const) : STATES[item.status];
  return (
    <article className={`card call ${tone}`} aria-label={`Tool call ${item.server}/${item.tool}, ${label}`}>
      <header>
        <span className="tool">
          <span className="muted">{visible(item.server)}/</span>
          {visible(item.tool)}
        </span>
        <Badge tone={tone}>{label}</Badge>
        {item.endedAt && <span className="muted">{duration(item.startedAt, item.endedAt)}</span>}
        <Time at={item.startedAt} exact />
      </header>
      <Arguments values={item.arguments} />
      {item.status === "running" && item.progress !== null && (
        <div className="progress">
          <progress max={100} value={item.progress} aria-label="progress" /> <span>{item.progressText}</span>
        </div>
      )}
      {asking && item.approval && <Permission approval={item.approval} />}
      {item.answer && <Decision item={item} />}
      {item.error && (
        <div className="outcome bad">
          <p>{item.error.message}</p>
          {item.error.remedy && (
            <p>
              <code>{item.error.remedy}</code>
            </p>
          )}
          {item.error.details?.reason === "tool_changed" && (
            <p>
              <Link href="/tools">See what changed</Link>
            </p>
          )}
        </div>
      )}
      {item.result && <Outcome item={item} />}
      {(item.call?.capability_id || item.call?.audit_seq != null) && (
        <footer className="muted small">
          by right {item.call.capability_id && <Id value={item.call.capability_id} />}
          {item.call.audit_seq != null && <> · audit #{item.call.audit_seq}</>}
        </footer>
      )}
    </article>
  );
}

function Decision({ item }: { item: CallItem }) {
  const answer = item.answer;
  if (!answer) return null;
  const by = item.answeredBy === "system" ? "nobody in time" : "you";
  const scope = { once: "once", session: "for this session", always: "always" }[answer.remember ?? "once"] + (answer.any_arguments ? ", with any arguments," : "") + (answer.resource_uri ? `, for all of ${visible(answer.resource_uri)},` : "");
  const denied = answer.remember === "always" ? "Denied for good" : "Denied";
  return (
    <p className={`decision small ${answer.allow ? "ok" : "bad"}`}>
      {answer.allow ? `✓ Allowed ${scope} by ${by}` : `✕ ${denied} by ${by}`}
      {answer.reason && `: ${answer.reason}`}
    </p>
  );
}

function AskedCard({ item }: { item: AskedItem }) {
  const { question, response } = item;
  const name = `${visible(question.server)}/${visible(question.tool)}`;
  return (
    <article className={`card call ${response ? "" : "warn"}`} aria-label={`Question of ${name}`}>
      <header>
        <span className="tool">{name}</span>
        <Badge tone={response ? "plain" : "warn"}>{response ? "asked" : "asks"}</Badge>
        <Time at={question.asked_at} exact />
      </header>
      {response ? (
        <>
          <p className="small">{visible(question.inquiry.message ?? "")}</p>
          <p className={`decision small ${response.action === "accept" ? "ok" : "bad"}`}>{told(item)}</p>
          {response.action === "accept" && question.inquiry.kind === "form" && <Arguments values={response.content ?? {}} />}
        </>
      ) : (
        <Asks question={question} />
      )}
    </article>
  );
}

function told({ response, by }: AskedItem): string {
  if (response?.action === "accept") return "✓ Answered";
  if (response?.action === "decline") return "✕ Declined";
  return by === "system" ? "✕ Not answered in time" : "✕ Not answered";
}

const FOLD = 900;

function Outcome({ item }: { item: CallItem }) {
  const text = resultText(item.result?.content ?? []);
  if (!text) return <p className="outcome muted">no output</p>;
  const body = <Json value={text} label="result" />;
  if (text.length < FOLD && text.split("\n").length < 16) return <div className="outcome">{body}</div>;
  return (
    <details className="outcome">
      <summary>
        Result, {text.split("\n").length} lines <span className="muted peek">{text.slice(0, 80)}</span>
      </summary>
      {body}
    </details>
  );
}

export function resultText(content: Record<string, unknown>[]): string {
  return content.map((block) => (block.type === "text" ? String(block.text ?? "") : `[${String(block.type)}]`)).join("\n");
}

function NoteCard({ item }: { item: NoteItem }) {
  return (
    <div className={`note ${item.tone}`} role={item.tone === "bad" ? "alert" : undefined}>
      <span>{item.text}</span>
      {item.remedy && <code>{item.remedy}</code>}
      <Time at={item.at} exact />
    </div>
  );
}

function duration(from: string, to: string): string {
  const ms = new Date(to).getTime() - new Date(from).getTime();
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}
