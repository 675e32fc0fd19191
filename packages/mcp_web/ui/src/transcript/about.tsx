// What a question is about, beside its arguments: the worst it may do, what would change, what was said last time.
import type { Approval } from "../api/types";
import { Badge, type Tone } from "../parts/basics";
import { Diff } from "../parts/diff";
import { Time } from "../parts/time";
import { Arguments, visible } from "../parts/values";

type Effect = NonNullable<Approval["effect"]>;
const EFFECTS: Record<Effect, [string, Tone]> = {
  reads: ["only reads", "ok"],
  writes: ["writes", "warn"],
  destroys: ["may overwrite or delete", "bad"],
};

export function About({ approval }: { approval: Approval }) {
  const [effect, tone] = EFFECTS[approval.effect ?? "destroys"];
  const others = (approval.touches ?? []).filter((uri) => uri !== approval.resource_uri);
  const preview = approval.preview;
  return (
    <>
      <p>
        <strong>May {approval.agent_name ? visible(approval.agent_name) : "it"} do this?</strong> It asks for{" "}
        <code>{visible(approval.resource_uri)}</code> <Badge tone={tone}>{effect}</Badge>{" "}
        <span className="small">by its own words</span>
      </p>
      {others.length > 0 && (
        <details open={others.length <= 3}>
          <summary>
            also touches {others.length} more {others.length === 1 ? "right" : "rights"}
          </summary>
          <ul className="plain">
            {others.map((uri) => (
              <li key={uri}>
                <code>{visible(uri)}</code>
              </li>
            ))}
          </ul>
        </details>
      )}
      {preview && (
        <>
          <p className="small">
            As of <Time at={approval.asked_at} exact />: {visible(preview.summary)}
          </p>
          {preview.diff && <Diff text={preview.diff} label="what would change" />}
          {(preview.cut ?? 0) > 0 && <p className="small">{preview.cut} more lines are left out.</p>}
        </>
      )}
      <Precedent approval={approval} />
    </>
  );
}

function Precedent({ approval }: { approval: Approval }) {
  const before = approval.precedent;
  if (!before) return null;
  const now = approval.arguments;
  const names = [...new Set([...Object.keys(now), ...Object.keys(before.arguments)])];
  const differ = names.filter((name) => JSON.stringify(now[name]) !== JSON.stringify(before.arguments[name]));
  const then = Object.fromEntries(differ.filter((name) => name in before.arguments).map((name) => [name, before.arguments[name]]));
  const fresh = differ.filter((name) => !(name in before.arguments));
  return (
    <div className="small">
      <p>
        You {before.allow ? "allowed" : "denied"} this tool <Time at={before.at} />
        {differ.length === 0 && ", with the same arguments"}
        {fresh.length > 0 && `, without ${fresh.map(visible).join(", ")}`}
        {Object.keys(then).length > 0 && ", when it was:"}
      </p>
      {Object.keys(then).length > 0 && <Arguments values={then} />}
    </div>
  );
}
