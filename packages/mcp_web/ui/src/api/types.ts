// Names for what the generated schema describes, and the few frames that only the WebSocket carries.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Session = Schemas["Session"];
export type Profile = Session["profile"];
export type ActorStatus = Schemas["ActorStatus"];
export type AgentRecord = Schemas["AgentRecord"];
export type Approval = Schemas["Approval"];
export type Answer = Schemas["Answer"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditReport = Schemas["AuditReport"];
export type Blockage = Schemas["Blockage"];
export type Branch = Schemas["Branch"];
export type CallOutcome = Schemas["CallOutcome"];
export type Capability = Schemas["Capability"];
export type ErrorBody = Schemas["ErrorBody"];
export type Explanation = Schemas["Explanation"];
export type Health = Schemas["Health"];
export type Login = Schemas["Login"];
export type LostMessage = Schemas["LostMessage"];
export type NodeStatus = Schemas["NodeStatus"];
export type Posted = Schemas["Posted"];
export type Rec = Schemas["Record"];
export type ApiKey = Schemas["ApiKey"];
export type Item = Schemas["Item"];
export type LoginPage = Schemas["LoginPage"];
export type NewKey = Schemas["NewKey"];
export type Prompt = Schemas["Prompt"];
export type PromptArgument = Schemas["PromptArgument"];
export type Publication = Schemas["Publication"];
export type Question = Schemas["Question"];
export type QuestionResponse = Schemas["Response"];
export type Rendered = Schemas["Rendered"];
export type Refusal = Schemas["Refusal"];
export type RuntimeStatus = Schemas["RuntimeStatus"];
export type SeenMessage = Schemas["SeenMessage"];
export type ServerStatus = Schemas["ServerStatus"];
export type StorageCheck = Schemas["StorageCheck"];
export type StoreReport = Schemas["StoreReport"];
export type ToolCall = Schemas["ToolCall"];
export type ToolChange = Schemas["ToolChange"];
export type ToolInfo = Schemas["ToolInfo"];
export type ToolResult = Schemas["ToolResult"];

export interface Page<T> {
  items: T[];
  cursor?: string | null;
}

export type Passing =
  | { type: "text"; session_id: string; turn_id: string; message_id: string; text: string }
  | { type: "progress"; session_id: string; execution_id: string; progress: number; message: string }
  | { type: "server"; name: string; state: string; error: string }
  | { type: "offers"; server: string; kind: "tools" | "resources" | "prompts" };

export type NodeFrame =
  | { type: "welcome"; principal_id: string; position: number; version: string }
  | { type: "result"; id: number; value: unknown }
  | { type: "failure"; id: number; error: ErrorBody }
  | { type: "happened"; id: number; record: Rec }
  | { type: "passing"; id: number; passing: Passing };

export type Notice = { record: Rec } | { passing: Passing };
