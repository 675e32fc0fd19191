// A question of a tool, wherever it is shown: a form, a link that is opened by nobody but the person, a yes or no.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, at } from "../api/http";
import type { Question, QuestionResponse } from "../api/types";
import { Failure, Json } from "../parts/basics";
import { SchemaForm } from "../parts/form";
import { Time } from "../parts/time";
import { visible } from "../parts/values";

export function Asks({ question }: { question: Question }) {
  const queries = useQueryClient();
  const { inquiry } = question;
  const answer = useMutation({
    mutationFn: (response: QuestionResponse) => api<null>(at("questions", question.id), { method: "POST", body: response }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["questions"] }),
  });
  const refuse = (
    <button type="button" className="danger" disabled={answer.isPending} onClick={() => answer.mutate({ action: "decline" })}>
      Decline
    </button>
  );
  return (
    <div className="question">
      {inquiry.message && <p className="said">{visible(inquiry.message)}</p>}
      {question.again && (
        <p role="note">
          <strong>The tool that asked is gone.</strong> A yes sends the whole call again, with whatever it had done already.
        </p>
      )}
      {inquiry.kind === "form" ? (
        <SchemaForm
          schema={inquiry.schema ?? {}}
          send="Send"
          busy={answer.isPending}
          error={answer.error}
          onSend={(content) => answer.mutate({ action: "accept", content })}
        >
          {refuse}
        </SchemaForm>
      ) : (
        <>
          {inquiry.kind === "url" ? <Link url={inquiry.url ?? ""} /> : <Wish question={question} />}
          <div className="answers">
            {inquiry.kind !== "roots" && (
              <button type="button" className="primary" disabled={answer.isPending} onClick={() => answer.mutate({ action: "accept" })}>
                {inquiry.kind === "url" ? "I have opened it" : "Yes, it may"}
              </button>
            )}
            {refuse}
          </div>
          <Failure error={answer.error} />
        </>
      )}
      <p className="small">
        The question ends <Time at={question.expires_at} />; unanswered, the tool is told that nobody did.
      </p>
    </div>
  );
}

function Link({ url }: { url: string }) {
  const target = URL.canParse(url) ? new URL(url) : null;
  const opens = target !== null && ["http:", "https:"].includes(target.protocol);
  return (
    <>
      <p>
        It wants you to open a page of <strong>{target?.hostname ? visible(target.hostname) : "no machine"}</strong>:
      </p>
      <p>
        <code>{visible(url)}</code>
      </p>
      <div className="answers">
        {opens && (
          <a href={url} target="_blank" rel="noopener noreferrer">
            Open {visible(target.hostname)} in a new tab
          </a>
        )}
        <button type="button" className="small" onClick={() => void navigator.clipboard?.writeText(url)}>
          Copy the link
        </button>
      </div>
    </>
  );
}

function Wish({ question }: { question: Question }) {
  if (question.inquiry.kind === "roots") return <p>It wants to know which folders it may work in.</p>;
  return (
    <>
      <p>
        It wants your model to answer this, and <strong>{visible(question.server)}</strong> to read the answer:
      </p>
      <Json value={visible(JSON.stringify(question.inquiry.params ?? {}, null, 2))} label="what your model would be asked" />
    </>
  );
}
