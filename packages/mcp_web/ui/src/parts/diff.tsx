// A unified diff, line by line; the sign at the beginning of a line says it without colours, too.
import { visible } from "./values";

const KINDS: Record<string, string> = { "+": "added", "-": "removed", "@": "muted" };

/** The node may have spelled out what nobody could see; here it stays text. */
export function Diff({ text, label = "what changed" }: { text: string; label?: string }) {
  return (
    <pre className="json diff" tabIndex={0} role="group" aria-label={label}>
      {text.split("\n").map((line, index) => (
        <span key={index} className={KINDS[line.charAt(0)]}>
          {visible(line)}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
