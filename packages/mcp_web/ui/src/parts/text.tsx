// Text of models and people: a little structure, never markup. Everything ends up as text nodes.
import type { ReactNode } from "react";

const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*)/g;

function inline(text: string): ReactNode[] {
  return text.split(INLINE).map((part, index) => {
    if (part.startsWith("`") && part.endsWith("`") && part.length > 2) return <code key={index}>{part.slice(1, -1)}</code>;
    if (part.startsWith("**") && part.endsWith("**") && part.length > 4) return <strong key={index}>{part.slice(2, -2)}</strong>;
    return part;
  });
}

function prose(text: string, key: number): ReactNode {
  const blocks = text.split(/\n{2,}/).filter((block) => block.trim());
  return blocks.map((block, index) => {
    const lines = block.split("\n");
    const id = `${key}-${index}`;
    if (lines.every((line) => /^\s*([-*]|\d+\.)\s+/.test(line))) {
      const items = lines.map((line, at) => <li key={at}>{inline(line.replace(/^\s*([-*]|\d+\.)\s+/, ""))}</li>);
      return /^\s*\d/.test(block) ? <ol key={id}>{items}</ol> : <ul key={id}>{items}</ul>;
    }
    if (lines.length === 1 && /^#{1,6} /.test(block)) {
      return (
        <p key={id} className="prose-head">
          {inline(block.replace(/^#+ /, ""))}
        </p>
      );
    }
    return <p key={id}>{inline(block)}</p>;
  });
}

export function Prose({ text }: { text: string }) {
  const parts = text.split(/```/);
  return (
    <div className="prose">
      {parts.map((part, index) => {
        if (index % 2 === 0) return prose(part, index);
        const body = part.replace(/^[\w+-]*\n/, "").replace(/\n$/, "");
        return (
          <pre key={index} tabIndex={0} role="group" aria-label="code">
            {body}
          </pre>
        );
      })}
    </div>
  );
}
