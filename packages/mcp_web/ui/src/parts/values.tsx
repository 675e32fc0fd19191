// Arguments as a person has to judge them: whole, unescaped, and with nothing invisible in them.
import { Fragment } from "react";

// Control characters, zero-width ones, and those that turn the direction of reading.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

export function visible(text: string): string {
  return text.replace(UNSEEN, (char) => `‹U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

function show(value: unknown): string {
  return visible(typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

export function Arguments({ values }: { values: Record<string, unknown> }) {
  const entries = Object.entries(values).map(([name, value]) => [visible(name), show(value)] as const);
  if (!entries.length) return <p className="muted small">no arguments</p>;
  return (
    <dl className="args">
      {entries.map(([name, text]) => (
        <Fragment key={name}>
          <dt>{name}</dt>
          <dd>
            {text.includes("\n") || text.length > 160 ? (
              <pre className="json" tabIndex={0} role="group" aria-label={`argument ${name}`}>
                {text}
              </pre>
            ) : (
              text
            )}
          </dd>
        </Fragment>
      ))}
    </dl>
  );
}
