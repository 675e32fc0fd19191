// What tools that run want to know.
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { questions } from "../api/queries";
import { Empty, Failure, Header, Id } from "../parts/basics";
import { Time } from "../parts/time";
import { visible } from "../parts/values";
import { Asks } from "../transcript/question";

export function Questions() {
  const open = useQuery(questions());
  const items = open.data?.items ?? [];
  return (
    <>
      <Header title="Questions" sub="What tools that run want to know. A question outlives the client that began the call, and the node's restart." />
      <Failure error={open.error} />
      {open.isSuccess && items.length === 0 && (
        <Empty title="No tool waits for an answer." command="umbrella questions list">
          <p className="muted">What agents wait to be allowed is under Approvals.</p>
        </Empty>
      )}
      {items.map((item) => (
        <article key={item.id} className="card call warn" aria-label={`Question of ${visible(item.server)}/${visible(item.tool)}`}>
          <header>
            <h2 className="tool">
              <span className="muted">{visible(item.server)}/</span>
              {visible(item.tool)}
            </h2>
            <Link href={`/sessions/${item.session_id}`}>session</Link>
            <Id value={item.execution_id} />
            <Time at={item.asked_at} />
          </header>
          <Asks question={item} />
        </article>
      ))}
    </>
  );
}
