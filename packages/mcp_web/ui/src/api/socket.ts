// The live connection of one tab. It reconnects by itself, and every follow goes on from the last position it saw.
import type { NodeFrame, Notice } from "./types";

export type LinkState =
  | { kind: "connecting" }
  | { kind: "open" }
  | { kind: "lost"; retryAt: number }
  | { kind: "refused" };

interface FollowEntry {
  id: number;
  sessionId: string | null;
  after: number | null;
  onNotice: (notice: Notice) => void;
  onFailure: (message: string) => void;
}

const LOGIN_ENDED = 4401;
const LONGEST_WAIT = 10_000;

export class Live {
  private socket: WebSocket | null = null;
  private state: LinkState = { kind: "connecting" };
  private readonly watchers = new Set<() => void>();
  private readonly follows = new Map<number, FollowEntry>();
  private nextId = 1;
  private attempts = 0;
  private timer: number | undefined;
  private stopped = false;

  constructor(private readonly onReopened: () => void) {}

  start(): void {
    this.stopped = false;
    window.addEventListener("online", this.retryNow);
    this.open();
  }

  stop(): void {
    this.stopped = true;
    window.removeEventListener("online", this.retryNow);
    window.clearTimeout(this.timer);
    this.socket?.close();
    this.socket = null;
  }

  readonly watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  readonly current = (): LinkState => this.state;

  readonly retryNow = (): void => {
    if (this.state.kind === "lost") {
      window.clearTimeout(this.timer);
      this.open();
    }
  };

  /** Follow a session from its beginning, or the whole node (null) from now on. */
  follow(sessionId: string | null, onNotice: (notice: Notice) => void, onFailure: (message: string) => void = () => {}): () => void {
    const entry: FollowEntry = { id: this.nextId++, sessionId, after: sessionId === null ? null : 0, onNotice, onFailure };
    this.follows.set(entry.id, entry);
    if (this.state.kind === "open") this.ask(entry);
    return () => {
      this.follows.delete(entry.id);
      this.send({ type: "unfollow", id: entry.id });
    };
  }

  private open(): void {
    this.change({ kind: "connecting" });
    const url = new URL("/api/ws", window.location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => this.send({ type: "hello", client: { name: "dashboard" }, protocol: 1 });
    socket.onmessage = (message) => this.receive(JSON.parse(String(message.data)) as NodeFrame);
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event.code);
    };
  }

  private lost(code: number): void {
    this.socket = null;
    if (this.stopped) return;
    if (code === LOGIN_ENDED) {
      this.change({ kind: "refused" });
      this.onReopened();
      return;
    }
    const wait = Math.min(LONGEST_WAIT, 500 * 2 ** this.attempts++) * (0.75 + Math.random() / 2);
    this.change({ kind: "lost", retryAt: Date.now() + wait });
    this.timer = window.setTimeout(() => this.open(), wait);
  }

  private receive(frame: NodeFrame): void {
    switch (frame.type) {
      case "welcome": {
        const again = this.attempts > 0;
        this.attempts = 0;
        this.change({ kind: "open" });
        for (const entry of this.follows.values()) {
          entry.after ??= frame.position;
          this.ask(entry);
        }
        if (again) this.onReopened();
        break;
      }
      case "happened": {
        const entry = this.follows.get(frame.id);
        if (!entry) break;
        entry.after = frame.record.position;
        entry.onNotice({ record: frame.record });
        break;
      }
      case "passing":
        this.follows.get(frame.id)?.onNotice({ passing: frame.passing });
        break;
      case "failure":
        this.failed(frame.id, frame.error.code, frame.error.message);
        break;
      case "result":
        break;
    }
  }

  private failed(id: number, code: string, message: string): void {
    const entry = this.follows.get(id);
    if (!entry) return;
    if (code === "overloaded") {
      // The node could not keep up with us: go on from where we are, under a new number.
      this.follows.delete(id);
      entry.id = this.nextId++;
      this.follows.set(entry.id, entry);
      this.ask(entry);
      return;
    }
    entry.onFailure(message);
  }

  private ask(entry: FollowEntry): void {
    this.send({ type: "follow", id: entry.id, session_id: entry.sessionId, after: entry.after ?? 0 });
  }

  private send(frame: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  private change(state: LinkState): void {
    this.state = state;
    for (const watcher of this.watchers) watcher();
  }
}
