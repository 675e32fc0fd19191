// Moments, both ways at once: how long ago to read, the full date to hover and to hear.
import { useSyncExternalStore } from "react";

const TICK = 10_000;
const watchers = new Set<() => void>();
let now = Date.now();
let timer: number | undefined;

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  timer ??= window.setInterval(() => {
    now = Date.now();
    for (const each of watchers) each();
  }, TICK);
  return () => {
    watchers.delete(watcher);
    if (!watchers.size) {
      window.clearInterval(timer);
      timer = undefined;
    }
  };
}

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

function since(moment: number, present: number): string {
  const seconds = Math.round((moment - present) / 1000);
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return Math.abs(seconds) < 10 ? "now" : relative.format(seconds, "second");
}

export function Time({ at, exact = false }: { at: string; exact?: boolean }) {
  const present = useSyncExternalStore(watch, () => now);
  const date = new Date(at);
  const full = absolute.format(date);
  const ago = since(date.getTime(), Math.max(present, Math.min(Date.now(), present + TICK)));
  return (
    <time dateTime={at} title={exact ? `${full} (${ago})` : full}>
      {exact ? clock.format(date) : ago}
    </time>
  );
}
