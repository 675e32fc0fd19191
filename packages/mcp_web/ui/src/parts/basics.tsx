// The small pieces that every page is made of.
import { useState, type ReactNode } from "react";
import { Problem } from "../api/http";

export type Tone = "ok" | "warn" | "bad" | "info" | "plain";

export function Badge({ tone = "plain", children }: { tone?: Tone; children: ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>;
}

/** An id in short, whole for the clipboard and the pointer. */
export function Id({ value }: { value: string }) {
  const [copied, setCopied] = useState(false);
  const cut = value.indexOf("_");
  const short = cut > 0 ? `${value.slice(0, cut + 1)}${value.slice(cut + 1, cut + 9)}` : value;
  const copy = () => {
    void navigator.clipboard?.writeText(value).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), 1200);
    });
  };
  return (
    <button type="button" className="id" title={`${value}: click to copy`} onClick={copy}>
      {copied ? "copied" : short}
    </button>
  );
}

export function Failure({ error }: { error: unknown }) {
  if (!error) return null;
  const problem = error instanceof Problem ? error : null;
  return (
    <div className="notice bad" role="alert">
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {problem?.remedy && <p className="remedy">{problem.remedy}</p>}
      {problem?.requestId && <p className="muted small">request {problem.requestId}</p>}
    </div>
  );
}

export function Empty({ title, command, children }: { title: string; command?: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children}
      {command && (
        <p>
          <code>{command}</code>
        </p>
      )}
    </div>
  );
}

export function Header({ title, children, sub }: { title: ReactNode; sub?: ReactNode; children?: ReactNode }) {
  return (
    <header className="page-head">
      <div>
        <h1>{title}</h1>
        {sub && <div className="sub">{sub}</div>}
      </div>
      {children && <div className="actions">{children}</div>}
    </header>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    <label className="field">
      <span>{label}</span>
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

/** Scrolls by itself, so it can be reached and scrolled with the keyboard. */
export function Json({ value, label }: { value: unknown; label: string }) {
  return (
    <pre className="json" tabIndex={0} role="group" aria-label={label}>
      {typeof value === "string" ? value : JSON.stringify(value, null, 2)}
    </pre>
  );
}

export function More({ shown, loading, onMore }: { shown: boolean; loading: boolean; onMore: () => void }) {
  if (!shown) return null;
  return (
    <div className="more">
      <button type="button" onClick={onMore} disabled={loading}>
        {loading ? "Loading…" : "Load more"}
      </button>
    </div>
  );
}
