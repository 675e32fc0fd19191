import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { approvals } from "../api/queries";
import type { Approval } from "../api/types";
import { Empty, Failure, Header } from "../parts/basics";
import { Time } from "../parts/time";
import { Arguments, visible } from "../parts/values";
import { Question } from "../transcript/approval";

export function Approvals() {
  const open = useQuery(approvals());
  const items = open.data?.items ?? [];
  return (
    <>
      <Header title="Approvals" sub="What agents wait for you to allow. Unanswered in time means no." />
      <Failure error={open.error} />
      {open.isSuccess && items.length === 0 && (
        <Empty title="Nothing waits for an answer.">
          <p className="muted">
            Questions appear here when an assistant under the profile <em>ask</em> or <em>careful</em> needs a right it does not hold.
          </p>
        </Empty>
      )}
      {items.map((item) => (
        <Waiting key={item.id} approval={item} />
      ))}
    </>
  );
}

function Waiting({ approval }: { approval: Approval }) {
  return (
    <article className="card call warn" aria-label={`Question about ${approval.server}/${approval.tool}`}>
      <header>
        <h2 className="tool">
          <span className="muted">{visible(approval.server)}/</span>
          {visible(approval.tool)}
        </h2>
        <Link href={`/sessions/${approval.session_id}`}>session</Link>
        <Link href={`/agents/${approval.principal_id}`}>{approval.principal_id.slice(0, 14)}</Link>
        <Time at={approval.asked_at} />
      </header>
      <Arguments values={approval.arguments} />
      <Question approval={approval} />
    </article>
  );
}
