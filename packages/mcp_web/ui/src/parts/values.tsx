// Arguments as a person has to judge them: whole, unescaped, and with nothing invisible in them.
import { Fragment } from "react";

// Whatever no screen shows or what turns the direction of reading: controls, formats, lone surrogates, private and
// unassigned code points, separators, letters that look like nothing, variation selectors, spaces that are none.
const UNSEEN =
  /(?![\n\t ])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

export function visible(text: string): string {
  return text.replace(UNSEEN, (char) => `‹U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}›`);
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
