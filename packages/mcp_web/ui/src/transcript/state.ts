// What a session's notices add up to. Pure: the same notices always give the same picture.
import type { Approval, Answer, ErrorBody, Notice, Passing, Profile, Question, QuestionResponse, Rec, ToolCall, ToolResult } from "../api/types";

export interface UserItem {
  kind: "user";
  key: string;
  text: string;
  at: string;
}

export interface AssistantItem {
  kind: "assistant";
  key: string;
  text: string;
  at: string | null;
  model: string;
  tokens: number;
  /** Still being written. */
  open: boolean;
}

export interface CallItem {
  kind: "call";
  key: string;
  server: string;
  tool: string;
  arguments: Record<string, unknown>;
  status: "waiting" | "running" | "completed" | "failed";
  startedAt: string;
  endedAt: string | null;
  progress: number | null;
  progressText: string;
  principal: string;
  call: ToolCall | null;
  approval: Approval | null;
  answer: Answer | null;
  answeredBy: string;
  result: ToolResult | null;
  error: ErrorBody | null;
}

export interface NoteItem {
  kind: "note";
  key: string;
  tone: "plain" | "bad" | "warn";
  text: string;
  remedy: string;
  at: string;
}

/** What a tool wanted to know; open while there is no response. */
export interface AskedItem {
  kind: "asked";
  key: string;
  question: Question;
  response: QuestionResponse | null;
  by: string;
}

export type Item = UserItem | AssistantItem | CallItem | AskedItem | NoteItem;

export interface Transcript {
  items: Item[];
  busy: boolean;
  ended: boolean;
  suspended: boolean;
  title: string;
  profile: Profile;
  model: string;
  /** The folder it works in; empty when none was given. */
  folder: string;
  inputTokens: number;
  outputTokens: number;
}

export const EMPTY: Transcript = {
  items: [],
  busy: false,
  ended: false,
  suspended: false,
  title: "",
  profile: "careful",
  model: "",
  folder: "",
  inputTokens: 0,
  outputTokens: 0,
};

export function apply(state: Transcript, notice: Notice): Transcript {
  return "record" in notice ? remembered(state, notice.record) : passing(state, notice.passing);
}

function remembered(state: Transcript, record: Rec): Transcript {
  const { event } = record;
  const key = `r${record.position}`;
  switch (event.event) {
    case "session.created": {
      const begun = {
        ...state,
        title: event.title ?? "",
        profile: event.profile ?? "careful",
        model: event.model ?? "",
        folder: String(event.metadata?.cwd ?? ""),
      };
      const origin = event.forked_from;
      return origin ? note(begun, key, "plain", `a copy of ${origin.session_id} up to its event ${origin.version}`, event.timestamp) : begun;
    }
    case "session.suspended":
      return note({ ...state, suspended: true }, key, "warn", event.reason ? `suspended: ${event.reason}` : "suspended", event.timestamp);
    case "session.resumed":
      return note({ ...state, suspended: false }, key, "plain", "resumed", event.timestamp);
    case "agent.restarted": {
      // what it was saying it will say again
      const items = state.items.filter((item) => !(item.kind === "assistant" && item.open));
      return note({ ...state, items }, key, "plain", `the assistant was restarted (${event.reason}) and goes on`, event.timestamp);
    }
    case "session.changed": {
      const next = {
        ...state,
        title: event.title ?? state.title,
        profile: event.profile ?? state.profile,
        model: event.model ?? state.model,
      };
      const told = [
        event.profile ? `profile is now ${event.profile}` : "",
        event.model ? `model is now ${event.model}` : "",
        event.title ? `title is now “${event.title}”` : "",
      ].filter(Boolean);
      return note(next, key, event.profile === "open" ? "warn" : "plain", told.join(", "), event.timestamp);
    }
    case "session.ended":
      return note({ ...state, ended: true, busy: false }, key, "plain", `session ended: ${event.reason || "no reason given"}`, event.timestamp);
    case "message.user":
      return add(
        { ...state, title: state.title || (event.text.split(/\s+/).join(" ").slice(0, 80)) },
        { kind: "user", key: event.message_id, text: event.text, at: event.timestamp },
      );
    case "message.assistant": {
      const usage = event.usage ?? { input_tokens: 0, output_tokens: 0 };
      const counted = {
        ...state,
        inputTokens: state.inputTokens + (usage.input_tokens ?? 0),
        outputTokens: state.outputTokens + (usage.output_tokens ?? 0),
      };
      const final: AssistantItem = {
        kind: "assistant",
        key: event.message_id,
        text: event.text,
        at: event.timestamp,
        model: event.model ?? "",
        tokens: usage.output_tokens ?? 0,
        open: false,
      };
      if (state.items.some((item) => item.key === final.key)) return replace(counted, final.key, () => final);
      return event.text ? add(counted, final) : counted;
    }
    case "turn.started":
      return { ...state, busy: true };
    case "turn.ended": {
      const items = state.items.map((item) => (item.kind === "assistant" && item.open ? { ...item, open: false } : item));
      const idle = { ...state, items, busy: false };
      if (event.status === "completed") return idle;
      const why = event.error?.message ?? `the turn was ${event.status}`;
      return note(idle, key, event.status === "cancelled" ? "plain" : "bad", why, event.timestamp, event.error?.remedy ?? "");
    }
    case "approval.asked":
      return asked(state, event.approval);
    case "approval.answered":
      return {
        ...state,
        items: state.items.map((item) =>
          item.kind === "call" && item.approval?.id === event.approval_id
            ? { ...item, answer: event.answer, answeredBy: event.by, status: item.status === "waiting" ? "running" : item.status }
            : item,
        ),
      };
    case "question.asked": {
      const { question } = event;
      const fresh: AskedItem = { kind: "asked", key: question.id, question, response: null, by: "" };
      if (!state.items.some((item) => item.key === fresh.key)) return add(state, fresh);
      return replace(state, fresh.key, (item) => (item.kind === "asked" && !item.response ? fresh : item));
    }
    case "question.answered":
      return replace(state, event.question_id, (item) => (item.kind === "asked" && !item.response ? { ...item, response: event.response, by: event.by } : item));
    case "execution":
      return executed(state, event);
    default:
      return state;
  }
}

type Execution = Extract<Rec["event"], { event: "execution" }>;

function executed(state: Transcript, event: Execution): Transcript {
  const key = event.execution_id;
  const known = state.items.find((item): item is CallItem => item.kind === "call" && item.key === key);
  const base: CallItem = known ?? {
    kind: "call",
    key,
    server: event.call?.server ?? "",
    tool: event.call?.tool ?? "",
    arguments: event.call?.arguments ?? {},
    status: "running",
    startedAt: event.timestamp,
    endedAt: null,
    progress: null,
    progressText: "",
    principal: event.principal_id,
    call: null,
    approval: null,
    answer: null,
    answeredBy: "",
    result: null,
    error: null,
  };
  const over = event.status === "completed" || event.status === "failed";
  const next: CallItem = {
    ...base,
    call: event.call ?? base.call,
    startedAt: event.status === "started" ? event.timestamp : base.startedAt,
    endedAt: over ? event.timestamp : null,
    status: event.status === "completed" ? "completed" : event.status === "failed" ? "failed" : "running",
    result: event.result ?? null,
    error: event.error ?? null,
  };
  const settled = over ? withdrawn(state, key) : state;
  return known ? replace(settled, key, () => next) : add(settled, next);
}

/** Nobody waits any more for what a call had asked that is over. */
function withdrawn(state: Transcript, execution: string): Transcript {
  const gone = (item: Item): boolean => item.kind === "asked" && !item.response && item.question.execution_id === execution;
  if (!state.items.some(gone)) return state;
  return { ...state, items: state.items.map((item) => (gone(item) ? { ...(item as AskedItem), response: { action: "cancel" }, by: "system" } : item)) };
}

function asked(state: Transcript, approval: Approval): Transcript {
  const item: CallItem = {
    kind: "call",
    key: approval.execution_id,
    server: approval.server,
    tool: approval.tool,
    arguments: approval.arguments,
    status: "waiting",
    startedAt: approval.asked_at,
    endedAt: null,
    progress: null,
    progressText: "",
    principal: approval.principal_id,
    call: null,
    approval,
    answer: null,
    answeredBy: "",
    result: null,
    error: null,
  };
  // A call may need several rights and ask for each: the card then shows the open question.
  if (state.items.some((known) => known.key === item.key)) return replace(state, item.key, () => item);
  return add(state, item);
}

function passing(state: Transcript, notice: Passing): Transcript {
  if (notice.type === "text") {
    const known = state.items.find((item) => item.key === notice.message_id);
    if (!known) {
      const fresh: AssistantItem = {
        kind: "assistant",
        key: notice.message_id,
        text: notice.text,
        at: null,
        model: "",
        tokens: 0,
        open: true,
      };
      return add(state, fresh);
    }
    return replace(state, notice.message_id, (item) =>
      item.kind === "assistant" && item.open ? { ...item, text: item.text + notice.text } : item,
    );
  }
  if (notice.type === "progress") {
    return replace(state, notice.execution_id, (item) =>
      item.kind === "call" ? { ...item, progress: notice.progress, progressText: notice.message } : item,
    );
  }
  return state;
}

function add(state: Transcript, item: Item): Transcript {
  return { ...state, items: [...state.items, item] };
}

function replace(state: Transcript, key: string, change: (item: Item) => Item): Transcript {
  const index = state.items.findLastIndex((item) => item.key === key);
  const found = state.items[index];
  if (!found) return state;
  return { ...state, items: state.items.with(index, change(found)) };
}

function note(state: Transcript, key: string, tone: NoteItem["tone"], text: string, at: string, remedy = ""): Transcript {
  return text ? add(state, { kind: "note", key, tone, text, remedy, at }) : state;
}
